# SPDX-License-Identifier: Apache-2.0
"""The path that a prediction means: where the tool centre point would be after each action, and which would be cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.controller_config import ControllerConfig
from physgen_control.geometry import moved
from physgen_control.types import ActionChunk, ActionSpace, DeltaReference, Float64Array, Pose


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLimits:
    """What the controller lets through."""

    translation: float
    """Longest translation per step [m]."""
    rotation: float
    """Longest rotation per step [rad]."""
    low: Float64Array
    """Lower corner of the box of the TCP, [3] in m."""
    high: Float64Array
    """Upper corner of the box of the TCP, [3] in m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedPath:
    """Where a prediction would lead the tool centre point."""

    positions: Float64Array
    """float64 [num_chunks, horizon + 1, 3] in m, base frame; a chunk starts where the one before ends."""
    cut: np.ndarray
    """bool [num_chunks, horizon], the actions that the controller would shorten."""


def limits_of(config: ControllerConfig) -> ActionLimits:
    """Return the limits that a controller puts on one action."""
    return ActionLimits(
        translation=min(config.step_translation, config.speed_translation * config.control_period),
        rotation=min(config.step_rotation, config.speed_rotation * config.control_period),
        low=np.array(config.workspace_min, np.float64),
        high=np.array(config.workspace_max, np.float64),
    )


def predicted_path(chunk: ActionChunk, start: Pose, limits: ActionLimits | None) -> PredictedPath | None:
    """Return the path of a prediction from the pose that was measured at its observation.

    None for chunks that are no finite end-effector deltas: the controller refuses them, so there is nothing to draw.
    """
    data = np.asarray(chunk.data, np.float64)
    if chunk.action_space != ActionSpace.EE_DELTA or data.shape[2] < 6 or not np.isfinite(data).all():
        return None
    chunks, horizon = data.shape[:2]
    positions, cut = np.empty((chunks, horizon + 1, 3)), np.zeros((chunks, horizon), bool)
    pose = start
    for index in range(chunks):
        positions[index, 0] = pose.position
        for step in range(horizon):
            from_pose = start if chunk.delta_reference == DeltaReference.CHUNK_ANCHOR else pose
            pose = moved(from_pose, data[index, step, :6])
            positions[index, step + 1] = pose.position
            cut[index, step] = limits is not None and _is_cut(data[index, step], pose, limits)
    return PredictedPath(positions=positions, cut=cut)


def _is_cut(action: Float64Array, pose: Pose, limits: ActionLimits) -> bool:
    too_far = float(np.linalg.norm(action[:3])) > limits.translation * (1.0 + 1e-6)
    too_much = float(np.linalg.norm(action[3:6])) > limits.rotation * (1.0 + 1e-6)
    outside = bool(np.any(pose.position < limits.low - 1e-9) or np.any(pose.position > limits.high + 1e-9))
    return too_far or too_much or outside
