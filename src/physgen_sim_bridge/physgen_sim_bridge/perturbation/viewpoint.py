# SPDX-License-Identifier: Apache-2.0
"""Geometry of changed cameras and lamps: pure functions on vectors [3] of a frame whose z axis points up."""

from __future__ import annotations

import math

import numpy as np

from physgen_control.types import Float64Array
from physgen_sim_bridge.perturbation.scene import CameraShift

STEEPEST = math.radians(85.0)
FLATTEST = math.radians(5.0)


def orbit(eye: Float64Array, target: Float64Array, shift: CameraShift) -> Float64Array:
    """Where a camera at `eye` stands after the shift: 5 to 85 degrees above `target`. Vectors float64 [3] in metres."""
    offset = np.asarray(eye, np.float64) - target
    turned = turn_direction(offset, shift.azimuth, shift.elevation)
    return np.asarray(target, np.float64) + turned * shift.distance


def turn_direction(vector: Float64Array, azimuth: float, elevation: float) -> Float64Array:
    """Turn a vector float64 [3] about the vertical axis and raise it, up to 5 to 85 degrees; its length stays."""
    x, y, z = (float(v) for v in vector)
    length = math.sqrt(x * x + y * y + z * z)
    heading = math.atan2(y, x) + azimuth
    rise = min(max(math.asin(z / length) + elevation, FLATTEST), STEEPEST)
    flat = length * math.cos(rise)
    return np.array([flat * math.cos(heading), flat * math.sin(heading), length * math.sin(rise)])


def looking_axes(eye: Float64Array, target: Float64Array, roll: float) -> Float64Array:
    """Axes of a camera that looks from eye to target: columns forward, left and up, float64 [3, 3].

    roll [rad] turns left and up about forward.
    """
    forward = np.asarray(target, np.float64) - eye
    forward = forward / np.linalg.norm(forward)
    left = np.cross([0.0, 0.0, 1.0], forward)
    left = left / np.linalg.norm(left)
    up = np.cross(forward, left)
    cosine, sine = math.cos(roll), math.sin(roll)
    return np.stack([forward, cosine * left + sine * up, cosine * up - sine * left], axis=1)
