# SPDX-License-Identifier: Apache-2.0
"""LIBERO: its tasks, assets, initial states and scripted experts."""
