# SPDX-License-Identifier: Apache-2.0
"""What a mode of the Franka robot means for motion, in words. No ROS."""

from __future__ import annotations

from collections.abc import Sequence

_OBSTACLES = {
    0: "The robot is in another mode: unlock its joints and activate FCI in Desk.",
    3: "The robot is guided by hand: release the guiding button.",
    4: "The robot stopped with a reflex",
    5: "The user stop is pressed: release it.",
    6: "The robot recovers from an error.",
}


def mode_obstacle(mode: int, errors: Sequence[str] = ()) -> str:
    """Return why a robot in this FrankaRobotState.robot_mode does not move, or an empty text (idle, move)."""
    if mode in (1, 2):
        return ""
    sentence = _OBSTACLES.get(mode, f"The robot is in the unknown mode {mode}.")
    return f"{sentence} ({', '.join(errors) or 'no error named'})." if mode == 4 else sentence
