# SPDX-License-Identifier: Apache-2.0
"""From what a human's hands do to twists and buttons: one module per device, plain numbers, no ROS."""
