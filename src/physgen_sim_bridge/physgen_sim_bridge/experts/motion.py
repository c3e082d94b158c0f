# SPDX-License-Identifier: Apache-2.0
"""How an expert's hand may move: limits, the orientation for a place, and the canonical action that follows."""

from __future__ import annotations

import numpy as np

from physgen_control.geometry import matrix_from_unit_quaternion
from physgen_control.types import ACTION_DIM, Float32Array, Float64Array, Pose

OPEN = 1.0
CLOSED = -1.0
CUBE_SIZE = 0.04
"""Edge of every cube in these tasks [m]."""

MAX_STEP = 0.06
"""Largest commanded translation per control step [m]: fast, yet far below the simulators' 0.1 m."""

MAX_TURN = 0.1
"""Largest commanded rotation per control step [rad]: the simulator's limit."""

TRAVEL_HEIGHT = 0.09
"""TCP height for moving over cubes: 4 cm of cube and 5 cm of air [m]."""

TILT_RADIUS = 0.74
TILT_RATE = 3.0
MAX_TILT = 0.3
"""Grasping beyond TILT_RADIUS [m] the hand tilts outwards by TILT_RATE [rad/m] up to MAX_TILT [rad]."""


def upright(tcp_pose: Pose) -> Float64Array:
    """Return the rotation vector [rad] that turns the hand's z axis to straight down."""
    hand_z = matrix_from_unit_quaternion(tcp_pose.quaternion)[:, 2]
    return np.cross(hand_z, np.array([0.0, 0.0, -1.0]))


def reaching(tcp_pose: Pose) -> Float64Array:
    """Return the rotation vector [rad] to straight down, or tilted outwards where a vertical hand is out of reach.

    Shoulder to wrist is 0.70 m stretched; a vertical hand's wrist is 0.21 m above and 0.088 m before the TCP, so from
    about 0.78 m on (base to TCP, on the table) the inverse kinematics has no solution without tilt.
    """
    radius = float(np.hypot(tcp_pose.position[0], tcp_pose.position[1]))
    tilt = float(np.clip((radius - TILT_RADIUS) * TILT_RATE, 0.0, MAX_TILT))
    outward = tcp_pose.position[:2] * (np.sin(tilt) / max(radius, 1e-9))
    hand_z = matrix_from_unit_quaternion(tcp_pose.quaternion)[:, 2]
    return np.cross(hand_z, np.array([outward[0], outward[1], -np.cos(tilt)]))


def shorten(vector: Float64Array, longest: float) -> Float64Array:
    """Return a vector, cut to the length `longest` if it was longer."""
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector


def hand_action(move: Float64Array, turn: Float64Array, gripper: float) -> Float32Array:
    """Return the canonical action of a hand's motion, within the limits of a control step.

    Args:
        move: Way to go, [3] in m.
        turn: Rotation vector to go, [3] in rad.
        gripper: +1 open, -1 closed.
    """
    action = np.empty(ACTION_DIM, dtype=np.float32)
    action[:3] = shorten(move, MAX_STEP)
    action[3:6] = shorten(turn, MAX_TURN)
    action[6] = gripper
    return action
