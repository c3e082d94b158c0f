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
    """SafetyStatus.msg: state, active faults, who commands, age of the newest robot state [s]."""

    stamp_ns: int
    state: SafetyState
    faults: Fault
    estop: bool
    deadman: bool
    intervention: bool
    state_age: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReport:
    """PolicyStatus.msg: latencies from an observation to its chunk [s], of the last one and of the last hundred."""

    stamp_ns: int
    policy_id: str
    ready: bool
    instruction: str
    latency_last: float
    latency_p95: float
    predictions: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrinsics:
    """CameraInfo.msg: K, float64 [3, 3] in pixels, for images of width x height pixels."""

    stamp_ns: int
    frame_id: str
    width: int
    height: int
    matrix: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredJoints:
    """JointState: 7 arm joints [rad], opening between the fingers [m]."""

    stamp_ns: int
    positions: Float64Array
    gripper_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPose:
    """PoseStamped: the tool centre point in `frame_id`."""

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
    """Return the controller's state; raises ConversionError for a state that does not exist."""
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
    """Return a camera's calibration; raises ConversionError unless focal lengths and size are positive."""
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
    """Return the arm's joints and opening of a JointState; see `read.joints_from_msg`."""
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
