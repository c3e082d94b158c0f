# SPDX-License-Identifier: Apache-2.0
"""Rotations and rigid poses in float64: unit quaternions in message order (x, y, z, w), matrices act on columns."""

from __future__ import annotations

import math

import numpy as np

from physgen_control.types import Float32Array, Float64Array, Pose

_TINY_ANGLE = 1e-12


def normalized(quaternion: Float64Array) -> Float64Array:
    """Return the unit quaternion of the same direction.

    Raises:
        ValueError: The quaternion is zero or not finite, so it names no rotation.
    """
    values = np.asarray(quaternion, np.float64)
    norm = math.sqrt(float(values @ values))
    if not math.isfinite(norm) or norm < 1e-6:
        raise ValueError(f"A quaternion must be finite and not zero, got {values.tolist()}.")
    return values / norm


def quaternion_from_rotation_vector(vector: Float64Array) -> Float64Array:
    """Return the quaternion of a right-handed rotation vector [rad]."""
    angle = float(np.linalg.norm(vector))
    if angle < _TINY_ANGLE:
        return np.array([0.0, 0.0, 0.0, 1.0])
    axis = np.asarray(vector, np.float64) / angle
    return np.append(axis * np.sin(angle / 2), np.cos(angle / 2))


def rotation_vector_from_quaternion(quaternion: Float64Array) -> Float64Array:
    """Return the rotation vector [rad] of length <= pi; the sign of the quaternion does not matter."""
    values = normalized(quaternion)
    if values[3] < 0:
        values = -values
    sine = float(np.linalg.norm(values[:3]))
    if sine < _TINY_ANGLE:
        return 2.0 * values[:3]
    return values[:3] * (2.0 * np.arctan2(sine, values[3]) / sine)


def quaternion_product(left: Float64Array, right: Float64Array) -> Float64Array:
    """Return the rotation `right` followed by `left`; both are unit quaternions."""
    ax, ay, az, aw = left
    bx, by, bz, bw = right
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


def conjugate(quaternion: Float64Array) -> Float64Array:
    """Return the inverse rotation of a unit quaternion."""
    return np.asarray(quaternion, np.float64) * np.array([-1.0, -1.0, -1.0, 1.0])


def matrix_from_quaternion(quaternion: Float64Array) -> Float64Array:
    """Return the rotation matrix [3, 3] of a quaternion of any length."""
    return matrix_from_unit_quaternion(normalized(quaternion))


def matrix_from_unit_quaternion(quaternion: Float64Array) -> Float64Array:
    """Return the rotation matrix [3, 3] of a quaternion of length 1."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_from_rotation_vector(vector: Float64Array) -> Float64Array:
    """Return the rotation matrix [3, 3] of a right-handed rotation vector [rad] (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < _TINY_ANGLE:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * skew + (1.0 - np.cos(angle)) * (skew @ skew)


def rotation_vector_from_matrix(matrix: Float64Array) -> Float64Array:
    """Return the rotation vector [rad] of length <= pi of a rotation matrix [3, 3]."""
    return rotation_vector_from_quaternion(quaternion_from_matrix(matrix))


def quaternion_from_matrix(matrix: Float64Array) -> Float64Array:
    """Return the quaternion with w >= 0 of a rotation matrix [3, 3]."""
    unit = steady_quaternion_from_matrix(matrix)
    return -unit if unit[3] < 0 else unit


def steady_quaternion_from_matrix(matrix: Float64Array) -> Float64Array:
    """Return the quaternion whose largest component is positive: no jump of its sign where w passes 0.

    The largest component is taken first, which is stable for every angle.
    """
    # Plain numbers: on nine of them they are several times faster than arrays.
    m: list[list[float]] = np.asarray(matrix, np.float64).tolist()
    trace = m[0][0] + m[1][1] + m[2][2]
    squares = [m[0][0], m[1][1], m[2][2], trace]
    largest = squares.index(max(squares))
    values = [0.0] * 4
    if largest == 3:
        values = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], 1.0 + trace]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        values[i] = 1.0 + m[i][i] - m[j][j] - m[k][k]
        values[j] = m[i][j] + m[j][i]
        values[k] = m[i][k] + m[k][i]
        values[3] = m[k][j] - m[j][k]
    return normalized(np.array(values))


def rotated(quaternion: Float64Array, vector: Float64Array) -> Float64Array:
    """Return a rotation vector [rad] in the base frame applied on top of an orientation."""
    return quaternion_product(quaternion_from_rotation_vector(vector), quaternion)


def moved(pose: Pose, delta: Float32Array | Float64Array) -> Pose:
    """Return the pose plus a delta float[6]: translation [m] and rotation vector [rad], both in the base frame."""
    values = np.asarray(delta, np.float64)
    return Pose(
        position=pose.position + values[:3], quaternion=rotated(normalized(pose.quaternion), values[3:6])
    )


def delta_between(start: Pose, end: Pose) -> Float64Array:
    """Return the delta [6], in m and rad, with moved(start, delta) == end."""
    turn = quaternion_product(normalized(end.quaternion), conjugate(normalized(start.quaternion)))
    return np.concatenate([end.position - start.position, rotation_vector_from_quaternion(turn)])


def tilt(quaternion: Float64Array) -> float:
    """Return the angle [rad] between the tool's z axis and straight down (0 for the usual top-down grasp)."""
    x, y, _, _ = normalized(quaternion)
    down = 2.0 * (x * x + y * y) - 1.0  # minus the z component of the tool's z axis
    return float(np.arccos(np.clip(down, -1.0, 1.0)))
