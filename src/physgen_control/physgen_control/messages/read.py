# SPDX-License-Identifier: Apache-2.0
"""Messages to values: strict on lengths, enums, names and encodings, no defaults invented."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import Any, TypeVar

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import (
    NS_PER_S,
    NUM_JOINTS,
    AckResult,
    ActionChunk,
    ActionSpace,
    AppliedAction,
    CameraFrame,
    ChunkAck,
    DeltaReference,
    Episode,
    EpisodePhase,
    Float32Array,
    Float64Array,
    GripperMode,
    Limit,
    Pose,
    RobotState,
    Rotation,
    SimState,
    Source,
)

CHUNK_SCHEMA_VERSION = 1
"""ActionChunk.SCHEMA_VERSION."""

EnumT = TypeVar("EnumT", bound=IntEnum | IntFlag)


class ConversionError(UserError):
    """A message or value does not fit its contract; the text is one sentence."""


def stamp_to_ns(stamp: Any) -> int:
    """Return a message Time or Duration as integer nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def pose_from_msg(message: Any, what: str = "pose") -> Pose:
    """Return the pose of a message.

    Raises:
        ConversionError: The numbers are not finite or the quaternion is not of unit length (within 1e-3).
    """
    pose = _pose_values(message)
    norm = math.hypot(*pose.quaternion)  # numpy's overflows with a warning
    if not np.isfinite(pose.position).all() or not abs(norm - 1.0) < 1e-3:
        raise ConversionError(
            f"The {what} must have a finite position and a unit quaternion, "
            f"got position {pose.position.tolist()} and "
            f"quaternion {pose.quaternion.tolist()} of length {norm:g}."
        )
    return pose


def joints_from_msg(joints: Any) -> tuple[Float64Array, Float64Array, float]:
    """Return arm positions [7] in rad, velocities [7] in rad/s and opening [m] (sum of the fingers) of a JointState.

    Joints are found by name (joint1..7, finger_joint1/2), in any order.

    Raises:
        ConversionError: A joint is missing or named twice, or there are not as many values as names.
    """
    arm = _joint_indices(joints.name, r"(?<!finger_)joint([1-7])$", NUM_JOINTS, "arm joints ...joint1..7")
    fingers = _joint_indices(joints.name, r"finger_joint([12])$", 2, "finger joints ...finger_joint1 and 2")
    position, velocity = np.asarray(joints.position, np.float64), np.asarray(joints.velocity, np.float64)
    for label, values in (("position", position), ("velocity", velocity)):
        if len(values) != len(joints.name):
            raise ConversionError(
                f"JointState has {len(joints.name)} names but {len(values)} {label} values."
            )
    return position[arm], velocity[arm], float(position[fingers].sum())


def robot_state_from_msgs(joints: Any, pose: Any) -> RobotState:
    """Return the robot state of a JointState and a PoseStamped.

    The stamp is that of the joints; the caller decides which pose belongs to them.

    Raises:
        ConversionError: The joints or the pose do not fit (see joints_from_msg, pose_from_msg).
    """
    positions, velocities, gripper_width = joints_from_msg(joints)
    return RobotState(
        stamp_ns=stamp_to_ns(joints.header.stamp),
        positions=positions,
        velocities=velocities,
        gripper_width=gripper_width,
        tcp_pose=pose_from_msg(pose.pose, "TCP pose"),
    )


def sim_state_from_msg(message: Any) -> SimState:
    """Return the privileged simulator state of a message.

    Raises:
        ConversionError: There is not one pose for each of its distinct names, or a pose is impossible.
    """
    names = list(message.names)
    if len(names) != len(message.poses) or len(set(names)) != len(names):
        raise ConversionError(
            "SimState must have one pose for each of its distinct names, "
            f"got {names} and {len(message.poses)} poses."
        )
    return SimState(
        stamp_ns=stamp_to_ns(message.header.stamp),
        episode_id=message.episode_id,
        objects={
            name: pose_from_msg(pose, f"pose of {name}")
            for name, pose in zip(names, message.poses, strict=True)
        },
        tcp_pose=pose_from_msg(message.tcp_pose, "TCP pose"),
        gripper_width=float(message.gripper_width),
        success=bool(message.success),
        frame_id=message.header.frame_id,
    )


def action_chunk_from_msg(message: Any) -> ActionChunk:
    """Return the chunk of a message in SI units: `scale` is multiplied in when `normalized` is set.

    Non-finite numbers are kept: refusing them is the controller's decision.

    Raises:
        ConversionError: Schema version, lengths or enum values do not fit.
    """
    if message.schema_version != CHUNK_SCHEMA_VERSION:
        raise ConversionError(
            f"ActionChunk has schema version {message.schema_version}, expected {CHUNK_SCHEMA_VERSION}."
        )
    shape = (message.num_chunks, message.horizon, message.action_dim)
    data = _float32_values(message.data)
    if 0 in shape or data.size != int(np.prod(shape)):
        raise ConversionError(
            f"ActionChunk of shape {shape} must carry {int(np.prod(shape))} numbers, got {data.size}."
        )
    if not 1 <= message.execute_steps <= message.horizon:
        raise ConversionError(
            f"execute_steps must lie in 1 .. {message.horizon}, got {message.execute_steps}."
        )
    data = data.reshape(shape)
    scale = _float32_values(message.scale)
    if scale.size not in (0, message.action_dim):
        raise ConversionError(f"scale must be empty or have {message.action_dim} numbers, got {scale.size}.")
    if message.normalized and scale.size:
        data = data * scale
    return ActionChunk(
        session_id=message.session_id,
        episode_id=message.episode_id,
        chunk_seq=int(message.chunk_seq),
        base_step=int(message.base_step),
        stamp_ns=stamp_to_ns(message.header.stamp),
        observation_stamp_ns=stamp_to_ns(message.observation_stamp),
        inference_start_ns=stamp_to_ns(message.inference_start),
        inference_end_ns=stamp_to_ns(message.inference_end),
        valid_until_ns=stamp_to_ns(message.valid_until),
        step_period_ns=stamp_to_ns(message.step_period),
        data=data,
        execute_steps=int(message.execute_steps),
        action_space=_enum(ActionSpace, message.action_space, "action_space"),
        rotation=_enum(Rotation, message.rotation, "rotation"),
        delta_reference=_enum(DeltaReference, message.delta_reference, "delta_reference"),
        gripper_mode=_enum(GripperMode, message.gripper_mode, "gripper_mode"),
        instruction=message.instruction,
        policy_id=message.policy_id,
        frame_id=message.header.frame_id,
    )


def applied_action_from_msg(message: Any) -> AppliedAction:
    """Return the applied action of a message.

    Raises:
        ConversionError: Lengths or enum values do not fit.
    """
    raw, applied = _float32_values(message.raw), _float32_values(message.applied)
    if raw.size != applied.size or applied.size == 0:
        raise ConversionError(
            f"AppliedAction must carry raw and applied of one length, got {raw.size} and {applied.size}."
        )
    return AppliedAction(
        stamp_ns=stamp_to_ns(message.header.stamp),
        state_stamp_ns=stamp_to_ns(message.state_stamp),
        session_id=message.session_id,
        episode_id=message.episode_id,
        step=int(message.step),
        chunk_seq=int(message.chunk_seq),
        base_step=int(message.base_step),
        step_index=int(message.step_index),
        chunk_index=int(message.chunk_index),
        source=_enum(Source, message.source, "source"),
        executed=bool(message.executed),
        raw=raw,
        applied=applied,
        target_pose=_pose_values(message.target_pose),
        gripper_width=float(message.gripper_width),
        limits=Limit(int(message.limit_flags)),
        latency=float(message.latency),
        action_space=_enum(ActionSpace, message.action_space, "action_space"),
        target_positions=np.array(message.target_positions, np.float64),
        frame_id=message.header.frame_id,
    )


def chunk_ack_from_msg(message: Any) -> ChunkAck:
    """Return the controller's answer of a message."""
    return ChunkAck(
        stamp_ns=stamp_to_ns(message.header.stamp),
        session_id=message.session_id,
        episode_id=message.episode_id,
        chunk_seq=int(message.chunk_seq),
        result=_enum(AckResult, message.result, "result"),
        detail=message.detail,
    )


def episode_from_msg(message: Any) -> Episode:
    """Return the episode of a message."""
    return Episode(
        episode_id=message.episode_id,
        task=message.task,
        seed=int(message.seed),
        instruction=message.instruction,
        start_ns=stamp_to_ns(message.header.stamp),
        phase=_enum(EpisodePhase, message.phase, "phase"),
        step=int(message.step),
        max_steps=int(message.max_steps),
        robot=message.robot,
        source=message.source,
        bag_path=message.bag_path,
        detail=message.detail,
    )


def json_object_from_msg(message: Any, what: str) -> dict[str, Any]:
    """Return the JSON object in a String message.

    Args:
        message: The message.
        what: Names it in the error, such as "policy status".

    Raises:
        ConversionError: Its text is no JSON object.
    """
    try:
        value = json.loads(message.data)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and a deep nesting
        raise ConversionError(f"The {what} is no JSON ({error}), got {message.data[:40]!r}.") from error
    if not isinstance(value, dict):
        raise ConversionError(f"The {what} must be a JSON object, got {message.data[:40]!r}.")
    return value


def image_from_msg(message: Any) -> CameraFrame:
    """Return an rgb8 or bgr8 Image as RGB, uint8 [height, width, 3], in memory of its own; its row step is honoured.

    Raises:
        ConversionError: The message is none that `check_image` passes.
    """
    check_image(message)
    rows = np.frombuffer(message.data, np.uint8, count=message.height * message.step)
    rows = rows.reshape(message.height, message.step)
    pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
    if message.encoding == "bgr8":
        pixels = pixels[:, :, ::-1]
    rgb = np.array(pixels, np.uint8, order="C", copy=True)
    return CameraFrame(stamp_ns=stamp_to_ns(message.header.stamp), rgb=rgb, frame_id=message.header.frame_id)


def check_image(message: Any) -> None:
    """Check that an Image is rgb8 or bgr8, with a possible row step and enough bytes.

    Raises:
        ConversionError: It is not.
    """
    frame = message.header.frame_id
    if message.encoding not in ("rgb8", "bgr8"):
        raise ConversionError(
            f"Image from {frame!r} has the encoding {message.encoding!r}, expected rgb8 or bgr8: "
            "set the camera driver's colour format."
        )
    needed = message.height * message.step
    if (
        message.width < 1
        or message.height < 1
        or message.step < 3 * message.width
        or len(message.data) < needed
    ):
        raise ConversionError(
            f"Image from {frame!r} of {message.width} x {message.height} with a row step of {message.step} "
            f"bytes needs step >= {3 * message.width} and {needed} bytes, got {len(message.data)} bytes."
        )


def _enum(kind: type[EnumT], value: int, what: str) -> EnumT:
    try:
        return kind(int(value))
    except ValueError as error:
        known = ", ".join(f"{member.value} {member.name}" for member in kind)
        raise ConversionError(f"{what} is {int(value)}, expected one of: {known}.") from error


def _float32_values(values: Any) -> Float32Array:
    return np.array(values, np.float32)


def _pose_values(message: Any) -> Pose:
    p, q = message.position, message.orientation
    return Pose(position=np.array([p.x, p.y, p.z]), quaternion=np.array([q.x, q.y, q.z, q.w]))


def _joint_indices(names: Sequence[str], pattern: str, count: int, what: str) -> list[int]:
    found: dict[int, int] = {}
    for index, name in enumerate(names):
        match = re.search(pattern, name)
        if match and found.setdefault(int(match.group(1)), index) != index:
            raise ConversionError(
                f"JointState names two joints {match.group(0)!r}: {list(names)}; expected one arm."
            )
    if len(found) != count:
        raise ConversionError(f"JointState lacks {what}; its names are {list(names)}.")
    return [found[number] for number in range(1, count + 1)]
