# SPDX-License-Identifier: Apache-2.0
"""The expert that pushes a cube to a goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float32Array, Float64Array, Pose
from physgen_sim_bridge.experts.expert import StateExpert
from physgen_sim_bridge.experts.motion import CLOSED, CUBE_SIZE, MAX_STEP, TRAVEL_HEIGHT, hand_action, upright


@dataclass(frozen=True, slots=True, kw_only=True)
class PushGeometry:
    """Distances of a push [m], seen along the push direction."""

    standoff: float = 0.065
    """TCP behind the cube's centre before contact: half a cube, half a finger, 3 cm of air."""
    lane: float = 0.012
    """Sideways error under which the TCP may push."""
    clear: float = 0.045
    """Behind the cube by this much, the gripper may come down without touching it."""
    height: float = 0.022
    """TCP height while pushing: finger tips 1 cm above the table."""
    straight: float = 0.05
    """A goal this little to the side is reached by pushing straight ahead."""
    overshoot: float = 0.03
    """Push on until the cube is this near to the goal's centre."""


class PushExpert(StateExpert):
    """Pushes the cube to the goal with closed fingers from behind; goes around it again when it slipped away."""

    def __init__(self, geometry: PushGeometry | None = None) -> None:
        super().__init__()
        self._geometry = geometry or PushGeometry()

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        geometry = self._geometry
        tcp = tcp_pose.position
        cube = objects["cube"].position
        to_goal = objects["goal"].position[:2] - cube[:2]
        turn = upright(tcp_pose)
        distance = float(np.hypot(*to_goal))
        if distance < geometry.overshoot:
            return hand_action(np.zeros(3), turn, CLOSED)
        ahead = _push_direction(to_goal, geometry.straight)
        side = np.array([-ahead[1], ahead[0]])
        from_cube = tcp[:2] - cube[:2]
        along, across = float(from_cube @ ahead), float(from_cube @ side)
        low = tcp[2] < geometry.height + 0.015
        behind = along < -0.5 * CUBE_SIZE
        move = np.zeros(3)
        if low and behind and abs(across) < geometry.lane:
            # In the lane: push, steering back to the cube's middle.
            move[:2] = ahead * min(MAX_STEP, 0.02 + distance) - side * across
            move[2] = geometry.height - tcp[2]
            return hand_action(move, turn, CLOSED)
        start = cube[:2] - ahead * geometry.standoff
        to_start = start - tcp[:2]
        if along < -geometry.clear and (low or float(np.hypot(*to_start)) < 0.03):
            # Behind the cube, nothing in the way: slide into the lane and come down.
            move[:2] = to_start
            move[2] = geometry.height - tcp[2]
            return hand_action(move, turn, CLOSED)
        near = float(np.hypot(*from_cube)) < 0.10
        if tcp[2] < TRAVEL_HEIGHT - 0.02 and near:
            # Beside, above or before the cube and too low to cross it: up first.
            return hand_action(np.array([0.0, 0.0, TRAVEL_HEIGHT - tcp[2]]), turn, CLOSED)
        move[:2] = to_start
        move[2] = TRAVEL_HEIGHT - tcp[2]
        return hand_action(move, turn, CLOSED)


def _push_direction(to_goal: Float64Array, straight: float) -> Float64Array:
    """Return the unit vector [2] of the push: straight ahead (+x) while that reaches the goal, else to its centre."""
    if to_goal[0] > straight and abs(to_goal[1]) < straight:
        return np.array([1.0, 0.0])
    return to_goal / float(np.hypot(*to_goal))
