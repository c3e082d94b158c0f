# SPDX-License-Identifier: Apache-2.0
"""Limit one end-effector delta: step, speed, workspace box, tilt cone.

Pure. Every limit only shortens components, so limits compose in any order; a result passes a second time unchanged, and
an action within all limits passes bit for bit (float32).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.controller_config import ControllerConfig
from physgen_control.geometry import moved, tilt
from physgen_control.types import Float32Array, Float64Array, Limit, Pose

_BISECTIONS = 40
# A limit that is not a float32 number, commanded exactly, must pass.
ROUNDING = 1.0 + 1e-6
# Clipped values end this much (relative) below the limit, so that rounding never puts them above it again.
_INSIDE = 1.0 - 1e-9
# The same for the tilt cone [rad]: larger than what float32 rounding of a rotation vector can turn.
_TILT_INSIDE = 1e-5


@dataclass(frozen=True, slots=True)
class LimitedMotion:
    """A limited motion."""

    motion: Float32Array
    """float32 [6]: translation [m] and rotation vector [rad], base frame."""
    limits: Limit
    """Which limits changed it."""


def limit_motion(motion: Float32Array, pose: Pose, config: ControllerConfig) -> LimitedMotion:
    """Return the motion shortened to every limit.

    Args:
        motion: float32 [6], translation [m] and rotation vector [rad] in the base frame, finite.
        pose: The pose that the motion is added to (measured or commanded).
        config: The limits.
    """
    result = np.array(motion[:6], np.float32)
    flags = Limit.NONE
    result[:3], cut = _shorten(
        result[:3], config.step_translation, config.speed_translation * config.control_period
    )
    flags |= cut
    result[3:], cut = _shorten(
        result[3:], config.step_rotation, config.speed_rotation * config.control_period
    )
    flags |= cut
    boxed = into_box(result[:3], pose.position, config)
    coned = _into_cone(result[3:], pose, config.tilt_limit)
    if not np.array_equal(boxed, result[:3]) or not np.array_equal(coned, result[3:]):
        flags |= Limit.WORKSPACE
    result[:3], result[3:] = boxed, coned
    return LimitedMotion(result, flags)


def step_excess(motion: Float32Array, config: ControllerConfig) -> tuple[float, str]:
    """Return how many times the motion exceeds its tightest limit, and that limit in words."""
    values = np.asarray(motion, np.float64)
    length, angle = float(np.linalg.norm(values[:3])), float(np.linalg.norm(values[3:6]))
    by_length = _ratio(length, config.translation_limit)
    by_angle = _ratio(angle, config.rotation_limit)
    if by_length >= by_angle:
        return by_length, f"{length:.4g} m in one step, the limit is {config.translation_limit:.4g} m"
    return by_angle, f"{angle:.4g} rad in one step, the limit is {config.rotation_limit:.4g} rad"


def box_excess(target: Float64Array, position: Float64Array, config: ControllerConfig) -> float:
    """Return how far [m] a target [3] lies outside the box; a start outside does not count, moving away does."""
    low = np.minimum(config.workspace_min, position)
    high = np.maximum(config.workspace_max, position)
    return float(np.max(np.maximum(np.maximum(low - target, target - high), 0.0)))


def into_box(translation: Float32Array, position: Float64Array, config: ControllerConfig) -> Float32Array:
    """Return the translation [3] in m cut at the box; from outside the box only motion towards it remains."""
    upper = np.maximum(np.asarray(config.workspace_max) - position, 0.0)
    lower = np.minimum(np.asarray(config.workspace_min) - position, 0.0)
    wanted = translation.astype(np.float64)
    clipped = np.clip(wanted, lower, upper)
    return np.where(clipped == wanted, translation, _towards_zero(clipped)).astype(np.float32)


def _shorten(vector: Float32Array, step: float, speed_step: float) -> tuple[Float32Array, Limit]:
    length = float(np.linalg.norm(vector.astype(np.float64)))
    limit = min(step, speed_step)
    if length <= limit * ROUNDING:
        return vector, Limit.NONE
    flags = (Limit.STEP if length > step * ROUNDING else Limit.NONE) | (
        Limit.SPEED if length > speed_step * ROUNDING else Limit.NONE
    )
    return _towards_zero(vector.astype(np.float64) * (limit * _INSIDE / length)), flags


def _into_cone(rotation: Float32Array, pose: Pose, limit: float) -> Float32Array:
    """Return the rotation shortened until the tool's tilt is within the cone, or no worse than it already is."""
    if limit >= np.pi or not rotation.any():
        return rotation
    allowed = max(limit, tilt(pose.quaternion))

    def tilt_after(vector: Float64Array) -> float:
        return tilt(moved(pose, np.concatenate([np.zeros(3), vector])).quaternion)

    whole = rotation.astype(np.float64)
    if tilt_after(whole) <= allowed:
        return rotation
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if tilt_after(whole * middle) <= allowed - _TILT_INSIDE else (low, middle)
    shortened = _towards_zero(whole * low)
    # Tilt is not monotonic along every rotation: what does not fit after all does not turn.
    return shortened if tilt_after(shortened.astype(np.float64)) <= allowed else np.zeros(3, np.float32)


def _towards_zero(values: Float64Array) -> Float32Array:
    """Round to float32 without growing in magnitude."""
    rounded = values.astype(np.float32)
    grown = np.abs(rounded.astype(np.float64)) > np.abs(values)
    return np.where(grown, np.nextafter(rounded, np.float32(0)), rounded).astype(np.float32)


def _ratio(value: float, limit: float) -> float:
    if limit > 0:
        return value / limit
    return float("inf") if value > 0 else 0.0
