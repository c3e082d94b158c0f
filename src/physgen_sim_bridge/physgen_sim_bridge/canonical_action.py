# SPDX-License-Identifier: Apache-2.0
"""Canonical action -> simulator action: every scale, sign and clip of a simulator's controller lives here.

Canonical: float32 [7], translation [m], right-handed rotation vector [rad], gripper (+1 open, -1 closed), in the robot
base frame, relative to the measured pose. Pure NumPy.
"""

from __future__ import annotations

import numpy as np

from physgen_control.geometry import matrix_from_rotation_vector
from physgen_control.types import ACTION_DIM, Float32Array, Float64Array

MANISKILL_METRES = 0.1
"""pd_ee_delta_pose: 1.0 is 0.1 m of translation per control step."""

MANISKILL_RADIANS = 0.1
"""pd_ee_delta_pose: 1.0 is 0.1 rad of rotation per control step."""

MANISKILL_ROTATION_SIGN = -1.0
"""mani-skill 3.0.1 multiplies rotations by rot_lower (-0.1): its +1 turns left-handed (reported upstream as 1469)."""

LIBERO_METRES = 0.05
"""OSC_POSE: 1.0 is 0.05 m of translation per control step."""

LIBERO_RADIANS = 0.5
"""OSC_POSE: 1.0 is 0.5 rad of rotation per control step, right-handed about the base axes."""


def check_action(action: Float32Array) -> Float64Array:
    """Return the canonical action as float64 [7].

    Raises:
        ValueError: It has another shape, or a number that is not finite.
    """
    values = np.asarray(action, dtype=np.float64)
    if values.shape != (ACTION_DIM,):
        raise ValueError(
            f"A canonical action has {ACTION_DIM} numbers, but this one has shape {values.shape}."
        )
    if not np.all(np.isfinite(values)):
        raise ValueError(f"An action must be finite, but this one is {values.tolist()}.")
    return values


def euler_xyz_from_matrix(matrix: Float64Array) -> Float64Array:
    """Return (a, b, c) with matrix = Rx(a) @ Ry(b) @ Rz(c), |b| <= pi/2: what pd_ee_delta_pose calls "XYZ"."""
    return np.array(
        [
            np.arctan2(-matrix[1, 2], matrix[2, 2]),
            np.arcsin(np.clip(matrix[0, 2], -1.0, 1.0)),
            np.arctan2(-matrix[0, 1], matrix[0, 0]),
        ]
    )


def maniskill_action(action: Float32Array) -> Float32Array:
    """Return the pd_ee_delta_pose action (7 numbers in [-1, 1]) that realises a canonical action.

    Translation is clipped to 0.1 m per axis, rotation to 0.1 rad in length keeping its axis, the gripper to [-1, 1].

    Raises:
        ValueError: The action is no canonical one (see check_action).
    """
    values = check_action(action)
    rotation = values[3:6]
    angle = float(np.linalg.norm(rotation))
    if angle > MANISKILL_RADIANS:
        rotation = rotation * (MANISKILL_RADIANS / angle)
    euler = euler_xyz_from_matrix(matrix_from_rotation_vector(rotation))
    result = np.empty(ACTION_DIM, dtype=np.float32)
    result[:3] = np.clip(values[:3] / MANISKILL_METRES, -1.0, 1.0)
    result[3:6] = np.clip(MANISKILL_ROTATION_SIGN * euler / MANISKILL_RADIANS, -1.0, 1.0)
    result[6] = np.clip(values[6], -1.0, 1.0)
    return result


def libero_action(action: Float32Array) -> Float32Array:
    """Return the OSC_POSE action (7 numbers in [-1, 1]) that realises a canonical action.

    Translation is clipped to 0.05 m per axis, rotation to 0.5 rad in length keeping its axis. OSC_POSE reads rotations
    as vectors, so nothing is converted; its gripper closes on +1, so the sign turns round.

    Raises:
        ValueError: The action is no canonical one (see check_action).
    """
    values = check_action(action)
    rotation = values[3:6]
    angle = float(np.linalg.norm(rotation))
    if angle > LIBERO_RADIANS:
        rotation = rotation * (LIBERO_RADIANS / angle)
    result = np.empty(ACTION_DIM, dtype=np.float32)
    result[:3] = np.clip(values[:3] / LIBERO_METRES, -1.0, 1.0)
    result[3:6] = np.clip(rotation / LIBERO_RADIANS, -1.0, 1.0)
    result[6] = np.clip(-values[6], -1.0, 1.0)
    return result
