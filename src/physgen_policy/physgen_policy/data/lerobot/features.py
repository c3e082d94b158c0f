# SPDX-License-Identifier: Apache-2.0
"""The features of our LeRobot datasets by name, and so of the policies that are trained on them."""

from __future__ import annotations

# As in physgen_control.messages.topics; the processes of other policies, which read this, have not that package.

STATE_NAMES = (
    *(f"joint_{i}" for i in range(1, 8)),
    "gripper_width",
    *("tcp_x", "tcp_y", "tcp_z"),
    *("tcp_qx", "tcp_qy", "tcp_qz", "tcp_qw"),
)
"""Joints [rad], gripper width [m], position [m] and unit quaternion (x, y, z, w) of the tool in the base frame."""
ACTION_NAMES = ("dx", "dy", "dz", "droll_x", "droll_y", "droll_z", "gripper")
"""Translation [m] and rotation vector [rad] from the measured pose in the base frame; gripper +1 open, -1 closed."""
STATE_KEY = "observation.state"
ACTION_KEY = "action"


def image_key(camera: str) -> str:
    """Return the feature name of a camera."""
    return f"observation.images.{camera}"
