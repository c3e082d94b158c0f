# SPDX-License-Identifier: Apache-2.0
"""A fake FR3 as its driver shows it: trajectories in, joints and poses out, with limits, faults, a cube and cameras."""
