# SPDX-License-Identifier: Apache-2.0
"""The PhysGen networks. This package knows neither ROS nor files (apart from the presets of config.py)."""
