# SPDX-License-Identifier: Apache-2.0
"""Scripted experts: canonical actions from object poses and the measured TCP, for demonstrations and evaluation.

An expert decides from the current state alone, so it recovers from whatever a policy or noise did before. Pure NumPy;
all poses in the robot base frame (table top at z = 0).
"""
