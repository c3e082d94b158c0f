# SPDX-License-Identifier: Apache-2.0
"""ROS nodes of the policy; the only place of this package that imports ROS."""
