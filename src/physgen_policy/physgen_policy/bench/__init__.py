# SPDX-License-Identifier: Apache-2.0
"""Measures the policy on this machine and compares it with what the machine could do at best. No ROS."""
