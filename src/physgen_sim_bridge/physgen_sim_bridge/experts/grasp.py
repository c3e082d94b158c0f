# SPDX-License-Identifier: Apache-2.0
"""The experts that grasp a cube: one carries it to a goal, one puts it on another cube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from physgen_control.geometry import matrix_from_unit_quaternion
from physgen_control.types import Float32Array, Float64Array, Pose
from physgen_sim_bridge.experts.expert import StateExpert
from physgen_sim_bridge.experts.motion import (
    CLOSED,
    CUBE_SIZE,
    MAX_STEP,
    OPEN,
    TRAVEL_HEIGHT,
    hand_action,
    reaching,
    shorten,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraspPace:
    """How a cube is approached. A policy looks once per chunk: what it must see before it acts has to last that long.

    Turning from afar, the hand would answer what few pixels do not show; a hand that is over the cube and down again
    within one chunk would never have been seen there.
    """

    gain: float = 0.5
    """Share of the remaining way and turn per control step."""
    descent: float = 0.015
    """Largest step of a hand that comes down on a cube [m]."""
    turn_within: float = 0.03
    """It turns to the cube's faces when this near above it, seen from above [m]."""


BRISK = GraspPace(gain=1.0, descent=MAX_STEP, turn_within=np.inf)
"""All at once, for what paces itself."""


class PickExpert(StateExpert):
    """Grasps the object called cube from above and carries it to the object called goal."""

    def __init__(self, pace: GraspPace | None = None) -> None:
        super().__init__()
        self._pace = pace or GraspPace()

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        cube, goal = objects["cube"], objects["goal"]
        if _holds(cube, tcp_pose, gripper_width):
            move = self._pace.gain * (goal.position - cube.position)
            return hand_action(_carry(move), reaching(tcp_pose), CLOSED)
        return _grasp(cube, None, tcp_pose, gripper_width, self._pace)


class StackExpert(StateExpert):
    """Puts the object called cubeA on the object called cubeB and lets go."""

    def __init__(self, pace: GraspPace | None = None) -> None:
        super().__init__()
        self._pace = pace or GraspPace()

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        top, bottom = objects["cubeA"], objects["cubeB"]
        gap = bottom.position + np.array([0.0, 0.0, CUBE_SIZE]) - top.position
        sideways = float(np.hypot(gap[0], gap[1]))
        upright = reaching(tcp_pose)
        if sideways < 0.02 and abs(gap[2]) < 0.004:
            # It stands: open, then leave straight up.
            rise = TRAVEL_HEIGHT if gripper_width > 0.06 else 0.0
            away = float(np.linalg.norm(tcp_pose.position - top.position)) > 0.08
            return hand_action(np.array([0.0, 0.0, 0.0 if away else 0.3 * rise]), upright, OPEN)
        if not _holds(top, tcp_pose, gripper_width):
            return _grasp(top, bottom, tcp_pose, gripper_width, self._pace)
        move = gap.copy()
        if sideways > 0.01:
            # Above the lower cube's top by 2.5 cm before moving over it; sideways only when high enough.
            move[2] = gap[2] + 0.025
            if move[2] > 0.012:
                move[:2] = 0.0
        else:
            move[2] = np.clip(gap[2], -0.02, 0.02)
        return hand_action(_carry(self._pace.gain * move), upright, CLOSED)


def _carry(move: Float64Array) -> Float64Array:
    """Return the motion [m], limited while something is held: the cube must not slip."""
    return shorten(move, 0.05)


def _holds(cube: Pose, tcp_pose: Pose, gripper_width: float) -> bool:
    """Return whether the fingers have closed on the cube: about one cube apart, and it is between them."""
    near = float(np.linalg.norm(cube.position - tcp_pose.position)) < 0.025
    return near and 0.5 * CUBE_SIZE < gripper_width < CUBE_SIZE + 0.006


def _grasp(
    cube: Pose, neighbour: Pose | None, tcp_pose: Pose, gripper_width: float, pace: GraspPace
) -> Float32Array:
    """Return one step of: open, move over the cube, turn, come down, close."""
    rotation = matrix_from_unit_quaternion(tcp_pose.quaternion)
    yaw_error = _grasp_turn(rotation, cube, neighbour)
    to_cube = cube.position - tcp_pose.position
    sideways = float(np.hypot(to_cube[0], to_cube[1]))
    turn = reaching(tcp_pose)
    if sideways < pace.turn_within:
        turn[2] += pace.gain * yaw_error
    closing = gripper_width < 0.075
    reached = 0.018 if closing else 0.008  # once the fingers close, noise must not open them again
    if sideways < reached and abs(to_cube[2]) < reached and (closing or abs(yaw_error) < 0.12):
        return hand_action(to_cube, turn, CLOSED)
    over = sideways < 0.012 and abs(yaw_error) < 0.15
    if over or (sideways < 0.02 and abs(to_cube[2]) < 0.03 and abs(yaw_error) < 0.3):
        return hand_action(shorten(to_cube, pace.descent), turn, OPEN)
    hover = cube.position[2] + TRAVEL_HEIGHT - tcp_pose.position[2]
    if hover > 0.04 and sideways > 0.02:
        # Too low to move sideways without hitting a cube: up first.
        return hand_action(np.array([0.0, 0.0, hover]), turn, OPEN)
    return hand_action(pace.gain * np.array([to_cube[0], to_cube[1], hover]), turn, OPEN)


def _grasp_turn(rotation: Float64Array, cube: Pose, neighbour: Pose | None) -> float:
    """Return the angle about +z [rad] from the fingers' closing direction (hand y) to a pair of the cube's faces.

    A cube offers two pairs, 90 degrees apart: the nearer one, unless a finger would come down on the neighbour.
    """
    closing = rotation[:, 1]
    faces = matrix_from_unit_quaternion(cube.quaternion)[:, 0]
    angle = np.arctan2(faces[1], faces[0]) - np.arctan2(closing[1], closing[0])
    nearest = float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    if neighbour is None:
        return nearest
    other = nearest - np.copysign(np.pi / 2, nearest)

    def room(turn: float) -> float:
        heading = float(np.arctan2(closing[1], closing[0])) + turn
        direction = np.array([np.cos(heading), np.sin(heading)])
        offset = neighbour.position[:2] - cube.position[:2]
        along = abs(float(offset @ direction))
        across = abs(float(offset @ np.array([-direction[1], direction[0]])))
        return max(along - 0.085, across - 0.045)

    return nearest if room(nearest) > 0.0 or room(nearest) >= room(other) else float(other)
