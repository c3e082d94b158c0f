# SPDX-License-Identifier: Apache-2.0
"""Acting with a checkpoint, from images to action chunks. ROS-free: the policy node only feeds it."""
