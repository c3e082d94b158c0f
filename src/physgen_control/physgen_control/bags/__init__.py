# SPDX-License-Identifier: Apache-2.0
"""Episode bags: one MCAP rosbag2 folder per episode, written and read without ROS."""
