# SPDX-License-Identifier: Apache-2.0
"""Values to message fields and back: the one set of rules for live messages and for bags.

ROS-free: a message is anything with the fields of the ROS type, so that rclpy messages and bag messages
cannot drift apart.
"""
