# SPDX-License-Identifier: Apache-2.0
"""Noise schedules as values, solvers as pure functions, and the autoregressive frame sampler."""
