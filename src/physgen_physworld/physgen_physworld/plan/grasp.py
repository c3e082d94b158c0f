# SPDX-License-Identifier: Apache-2.0
"""Grasp proposals for a box, from above: over which pair of faces the fingers close, and with what room beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.geometry import matrix_from_quaternion
from physgen_control.types import Float64Array, Pose
from physgen_physworld.plan.goals import Obstacle

WIDEST = 0.078
"""A Panda's fingers open this far [m], with a little air."""

FINGER_REACH = 0.085
"""An open finger's outer side is this far [m] from the grasp's middle, along the closing direction, with some air."""

FINGER_BREADTH = 0.045
"""Half an obstacle and half a finger across the closing direction [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grasp:
    """A grasp of a box from above."""

    turn: float
    """About the vertical, that the hand has yet to make [rad]."""
    room: float
    """Beside the fingers [m]; negative where one would come down on an obstacle."""
    width: float
    """The box's edge between the fingers [m]."""


def grasp_proposals(
    box_position: Float64Array,
    box_yaw: float,
    size: tuple[float, float, float],
    hand: Pose,
    obstacles: tuple[Obstacle, ...],
) -> list[Grasp]:
    """Return the grasps that fit into the hand, the best first: those with room, then the smaller turn."""
    closing = matrix_from_quaternion(hand.quaternion)[:, 1]
    heading = float(np.arctan2(closing[1], closing[0]))
    proposals = []
    for quarter in range(2):
        width = size[quarter]
        if width > WIDEST:
            continue
        # A hand that is turned by half closes over the same faces.
        turn = (box_yaw + quarter * np.pi / 2 - heading + np.pi / 2) % np.pi - np.pi / 2
        proposals.append(
            Grasp(turn=float(turn), room=_room(box_position, heading + turn, obstacles), width=width)
        )
    return sorted(
        proposals, key=lambda grasp: (grasp.room < 0, -grasp.room if grasp.room < 0 else abs(grasp.turn))
    )


def _room(position: Float64Array, heading: float, obstacles: tuple[Obstacle, ...]) -> float:
    along = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-along[1], along[0]])
    room = np.inf
    for obstacle in obstacles:
        offset = obstacle.position[:2] - position[:2]
        room = min(room, max(abs(offset @ along) - FINGER_REACH, abs(offset @ across) - FINGER_BREADTH))
    return float(room)
