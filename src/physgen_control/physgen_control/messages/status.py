# SPDX-License-Identifier: Apache-2.0
"""What the nodes say of themselves and of the cameras, as values: safety, policy, calibration. No ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from physgen_control.messages.read import ConversionError, joints_from_msg, pose_from_msg, stamp_to_ns
from physgen_control.types import Fault, Float64Array, Pose, SafetyState


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyReport:
    """What SafetyStatus says."""

    stamp_ns: int
    state: SafetyState
    faults: Fault
    """Those that are active."""
    estop: bool
    deadman: bool
    intervention: bool
    """A human is in command."""
    state_age: float
    """Of the newest robot state [s]."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReport:
    """What PolicyStatus says."""

    stamp_ns: int
    policy_id: str
    ready: bool
    instruction: str
    latency_last: float
    """From an observation to its chunk [s]."""
    latency_p95: float
    """Over the last hundred [s]."""
    predictions: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrinsics:
    """What CameraInfo says."""

    stamp_ns: int
    frame_id: str
    width: int
    """Of its images [pixels]."""
    height: int
    """Of its images [pixels]."""
    matrix: Float64Array
    """K, float64 [3, 3] in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredJoints:
    """What JointState says."""

    stamp_ns: int
    positions: Float64Array
    """float64 [7], arm joints in rad."""
    gripper_width: float
    """Opening between the fingers [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPose:
    """What PoseStamped says: the tool centre point in `frame_id`."""

    stamp_ns: int
    frame_id: str
    pose: Pose


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticTransform:
    """One transform of a TFMessage: from the frame `parent` to the frame `child`."""

    parent: str
    child: str
    pose: Pose


def safety_report_from_msg(message: Any) -> SafetyReport:
    """Return the controller's state.

    Raises:
        ConversionError: There is no such state.
    """
    try:
        state, faults = SafetyState(int(message.state)), Fault(int(message.faults))
    except ValueError as error:
        raise ConversionError(
            f"SafetyStatus must have a known state and known faults: {error}, expected a state of "
            f"{', '.join(f'{s.value} {s.name}' for s in SafetyState)}."
        ) from error
    return SafetyReport(
        stamp_ns=stamp_to_ns(message.header.stamp),
        state=state,
        faults=faults,
        estop=bool(message.estop),
        deadman=bool(message.deadman),
        intervention=bool(message.intervention),
        state_age=float(message.state_age),
        detail=message.detail,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """How far the pictures of an observation are from what was expected [levels of 255]."""

    stamp_ns: int
    """Of the observation."""
    errors: tuple[float, float, float, float]
    """Worst blocks and mean of the fixed view, then of the wrist view."""


def prediction_report_from_msg(message: Any) -> PredictionReport:
    """Return the errors of a frame.

    Raises:
        ConversionError: One is no finite number.
    """
    errors = tuple(
        float(getattr(message, f"{view}_{what}")) for view in ("fixed", "wrist") for what in ("worst", "mean")
    )
    if not np.isfinite(errors).all():
        raise ConversionError(f"the errors of a PredictionError must be finite numbers, got {errors}")
    return PredictionReport(
        stamp_ns=stamp_to_ns(message.header.stamp), errors=(errors[0], errors[1], errors[2], errors[3])
    )


def policy_report_from_msg(message: Any) -> PolicyReport:
    """Return the policy's state."""
    return PolicyReport(
        stamp_ns=stamp_to_ns(message.header.stamp),
        policy_id=message.policy_id,
        ready=bool(message.ready),
        instruction=message.instruction,
        latency_last=float(message.latency_last),
        latency_p95=float(message.latency_p95),
        predictions=int(message.predictions),
        detail=message.detail,
    )


def intrinsics_from_msg(message: Any) -> Intrinsics:
    """Return a camera's calibration.

    Raises:
        ConversionError: A focal length or a side is not positive.
    """
    matrix = np.array(message.k, np.float64)
    width, height = int(message.width), int(message.height)
    good = matrix.size == 9 and bool(np.isfinite(matrix).all())
    if not good or width < 1 or height < 1 or matrix[0] <= 0.0 or matrix[4] <= 0.0:
        raise ConversionError(
            f"CameraInfo of {message.header.frame_id!r} must have a size and focal lengths above 0, got "
            f"{width} x {height} and K {matrix.tolist()}."
        )
    return Intrinsics(
        stamp_ns=stamp_to_ns(message.header.stamp),
        frame_id=message.header.frame_id,
        width=width,
        height=height,
        matrix=matrix.reshape(3, 3),
    )


def measured_joints_from_msg(message: Any) -> MeasuredJoints:
    """Return the arm's joints and opening of a JointState.

    Raises:
        ConversionError: A joint is missing or named twice (see `read.joints_from_msg`).
    """
    positions, _, width = joints_from_msg(message)
    return MeasuredJoints(
        stamp_ns=stamp_to_ns(message.header.stamp), positions=positions, gripper_width=width
    )


def measured_pose_from_msg(message: Any) -> MeasuredPose:
    """Return the tool centre point of a PoseStamped."""
    return MeasuredPose(
        stamp_ns=stamp_to_ns(message.header.stamp),
        frame_id=message.header.frame_id,
        pose=pose_from_msg(message.pose, "TCP pose"),
    )


def static_transforms_from_msg(message: Any) -> tuple[StaticTransform, ...]:
    """Return the transforms of a TFMessage."""
    found = []
    for entry in message.transforms:
        t, q = entry.transform.translation, entry.transform.rotation
        pose = Pose(position=np.array([t.x, t.y, t.z]), quaternion=np.array([q.x, q.y, q.z, q.w]))
        found.append(
            StaticTransform(
                parent=entry.header.frame_id.lstrip("/"), child=entry.child_frame_id.lstrip("/"), pose=pose
            )
        )
    return tuple(found)
