# SPDX-License-Identifier: Apache-2.0
"""How a node ends: rclpy's own signal handler may shut the context down at any moment of ours."""

from contextlib import suppress

import rclpy
from rclpy._rclpy_pybind11 import RCLError


def shutdown() -> None:
    """Shut rclpy down, whoever comes first."""
    with suppress(RCLError):  # between try_shutdown's check and its call the handler may have done it
        rclpy.try_shutdown()
