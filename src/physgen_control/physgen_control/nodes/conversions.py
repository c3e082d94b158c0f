# SPDX-License-Identifier: Apache-2.0
"""Messages to values of `physgen_control.types` and back: strict on lengths, enums and names, no defaults invented."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import TypeVar

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from physgen_control.errors import UserError
from physgen_control.types import (
    AckResult,
    ActionChunk,
    ActionSpace,
    AppliedAction,
    ChunkAck,
    DeltaReference,
    Episode,
    EpisodePhase,
    Float32Array,
    GripperMode,
    Limit,
    Pose,
    RobotState,
    Rotation,
    SimState,
    Source,
)
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import ChunkAck as ChunkAckMsg
from physgen_msgs.msg import EpisodeInfo
from physgen_msgs.msg import SimState as SimStateMsg

NUM_JOINTS = 7
NS_PER_S = 1_000_000_000

EnumT = TypeVar("EnumT", bound=IntEnum | IntFlag)


class ConversionError(UserError):
    """A message or value does not fit its contract; the text is one sentence."""


# --- time -------------------------------------------------------------------------------------------------------


def stamp_to_ns(stamp: Time | Duration) -> int:
    """Return a message time or duration as integer nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def ns_to_stamp(ns: int) -> Time:
    """Return integer nanoseconds of ROS time as a message; Time holds 0 .. 2^31 s."""
    seconds, rest = divmod(int(ns), NS_PER_S)
    if not 0 <= seconds < 2**31:
        raise ConversionError(f"A ROS time must lie in 0 .. 2^31 seconds, got {ns} ns.")
    return Time(sec=seconds, nanosec=rest)


def ns_to_duration(ns: int) -> Duration:
    """Return integer nanoseconds as a Duration message."""
    seconds, rest = divmod(int(ns), NS_PER_S)
    if not -(2**31) <= seconds < 2**31:
        raise ConversionError(f"A ROS duration must lie in +-2^31 seconds, got {ns} ns.")
    return Duration(sec=seconds, nanosec=rest)


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with the stamp [ns of ROS time] and frame."""
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)


# --- poses and robot state --------------------------------------------------------------------------------------


def pose_to_msg(pose: Pose) -> PoseMsg:
    """Return a pose as a message; position [m] and quaternion (x, y, z, w) are float64 on both sides."""
    message = PoseMsg()
    message.position.x, message.position.y, message.position.z = (float(v) for v in _vector(pose.position, 3))
    q = message.orientation
    q.x, q.y, q.z, q.w = (float(v) for v in _vector(pose.quaternion, 4))
    return message


def pose_from_msg(message: PoseMsg, what: str = "pose") -> Pose:
    """Return the pose of a message.

    Raises:
        ConversionError: The numbers are not finite or the quaternion is not of unit length (within 1e-3).
    """
    pose = _pose_values(message)
    norm = float(np.linalg.norm(pose.quaternion))
    if not np.isfinite(pose.position).all() or not abs(norm - 1.0) < 1e-3:
        raise ConversionError(
            f"The {what} must have a finite position and a unit quaternion, "
            f"got position {pose.position.tolist()} and quaternion {pose.quaternion.tolist()} (length {norm:g})."
        )
    return pose


def robot_state_to_msgs(
    state: RobotState, *, joint_prefix: str, frame_id: str, joint_frame_id: str = ""
) -> tuple[JointState, PoseStamped]:
    """Return a robot state as /joint_states and current_pose with the same stamp.

    Args:
        state: Joints [rad, rad/s], opening [m], TCP pose in `frame_id`.
        joint_prefix: Such as "panda" or "fr3": joints are called PREFIX_joint1..7 and PREFIX_finger_joint1/2.
        frame_id: Frame of the TCP pose (robot base).
        joint_frame_id: Frame of the joint message; drivers leave it empty.
    """
    names = [f"{joint_prefix}_joint{i}" for i in range(1, NUM_JOINTS + 1)]
    names += [f"{joint_prefix}_finger_joint{i}" for i in (1, 2)]
    positions = [*_vector(state.positions, NUM_JOINTS), state.gripper_width / 2, state.gripper_width / 2]
    velocities = [*_vector(state.velocities, NUM_JOINTS), 0.0, 0.0]
    joints = JointState(
        header=make_header(state.stamp_ns, joint_frame_id),
        name=names,
        position=array("d", positions),
        velocity=array("d", velocities),
    )
    return joints, PoseStamped(header=make_header(state.stamp_ns, frame_id), pose=pose_to_msg(state.tcp_pose))


def robot_state_from_msgs(joints: JointState, pose: PoseStamped) -> RobotState:
    """Return the robot state; joints are found by name (…joint1..7, …finger_joint1/2), so their order is free.

    The stamp is that of the joints; the caller decides which pose belongs to them.
    """
    arm = _joint_indices(joints.name, r"(?<!finger_)joint([1-7])$", NUM_JOINTS, "arm joints ...joint1..7")
    fingers = _joint_indices(joints.name, r"finger_joint([12])$", 2, "finger joints ...finger_joint1 and 2")
    position, velocity = np.asarray(joints.position, np.float64), np.asarray(joints.velocity, np.float64)
    for label, values in (("position", position), ("velocity", velocity)):
        if len(values) != len(joints.name):
            raise ConversionError(f"JointState has {len(joints.name)} names but {len(values)} {label} values.")
    return RobotState(
        stamp_ns=stamp_to_ns(joints.header.stamp),
        positions=position[arm],
        velocities=velocity[arm],
        gripper_width=float(position[fingers].sum()),
        tcp_pose=pose_from_msg(pose.pose, "TCP pose"),
    )


def sim_state_to_msg(state: SimState) -> SimStateMsg:
    """Return the privileged simulator state as a message; poses are in `state.frame_id`."""
    return SimStateMsg(
        header=make_header(state.stamp_ns, state.frame_id),
        episode_id=state.episode_id,
        names=list(state.objects),
        poses=[pose_to_msg(pose) for pose in state.objects.values()],
        tcp_pose=pose_to_msg(state.tcp_pose),
        gripper_width=_float32(state.gripper_width),
        success=state.success,
    )


def sim_state_from_msg(message: SimStateMsg) -> SimState:
    """Return the privileged simulator state of a message."""
    names = list(message.names)
    if len(names) != len(message.poses) or len(set(names)) != len(names):
        raise ConversionError(
            f"SimState must have one pose for each of its distinct names, got {names} and {len(message.poses)} poses."
        )
    return SimState(
        stamp_ns=stamp_to_ns(message.header.stamp),
        episode_id=message.episode_id,
        objects={name: pose_from_msg(pose, f"pose of {name}") for name, pose in zip(names, message.poses, strict=True)},
        tcp_pose=pose_from_msg(message.tcp_pose, "TCP pose"),
        gripper_width=float(message.gripper_width),
        success=bool(message.success),
        frame_id=message.header.frame_id,
    )


# --- chunks and actions -----------------------------------------------------------------------------------------


def action_chunk_to_msg(chunk: ActionChunk) -> ActionChunkMsg:
    """Return a chunk as a message, in SI units (`normalized` false)."""
    data = np.ascontiguousarray(chunk.data)
    if data.dtype != np.float32 or data.ndim != 3:
        raise ConversionError(
            f"Chunk data must be float32 of shape (num_chunks, horizon, action_dim), got {data.dtype} {data.shape}."
        )
    num_chunks, horizon, action_dim = data.shape
    return ActionChunkMsg(
        header=make_header(chunk.stamp_ns, chunk.frame_id),
        schema_version=ActionChunkMsg.SCHEMA_VERSION,
        session_id=chunk.session_id,
        episode_id=chunk.episode_id,
        chunk_seq=chunk.chunk_seq,
        base_step=chunk.base_step,
        observation_stamp=ns_to_stamp(chunk.observation_stamp_ns),
        inference_start=ns_to_stamp(chunk.inference_start_ns),
        inference_end=ns_to_stamp(chunk.inference_end_ns),
        valid_until=ns_to_stamp(chunk.valid_until_ns),
        step_period=ns_to_duration(chunk.step_period_ns),
        action_space=int(chunk.action_space),
        rotation=int(chunk.rotation),
        delta_reference=int(chunk.delta_reference),
        gripper_mode=int(chunk.gripper_mode),
        num_chunks=num_chunks,
        horizon=horizon,
        action_dim=action_dim,
        execute_steps=chunk.execute_steps,
        data=_float32_array(data),
        normalized=False,
        instruction=chunk.instruction,
        policy_id=chunk.policy_id,
    )


def action_chunk_from_msg(message: ActionChunkMsg) -> ActionChunk:
    """Return the chunk of a message in SI units: `scale` is multiplied in when `normalized` is set.

    Non-finite numbers are kept: refusing them is the controller's decision.

    Raises:
        ConversionError: Schema version, lengths or enum values do not fit.
    """
    if message.schema_version != ActionChunkMsg.SCHEMA_VERSION:
        raise ConversionError(
            f"ActionChunk has schema version {message.schema_version}, expected {ActionChunkMsg.SCHEMA_VERSION}."
        )
    shape = (message.num_chunks, message.horizon, message.action_dim)
    data = _float32_values(message.data)
    if 0 in shape or data.size != int(np.prod(shape)):
        raise ConversionError(f"ActionChunk of shape {shape} must carry {int(np.prod(shape))} numbers, got {data.size}.")
    if not 1 <= message.execute_steps <= message.horizon:
        raise ConversionError(f"execute_steps must lie in 1 .. {message.horizon}, got {message.execute_steps}.")
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


def applied_action_to_msg(action: AppliedAction) -> AppliedActionMsg:
    """Return an applied action as a message; `raw` and `applied` are float32, `gripper_width`, `latency` become it."""
    if action.raw.dtype != np.float32 or action.applied.dtype != np.float32 or action.raw.shape != action.applied.shape:
        raise ConversionError(
            f"raw and applied must be float32 of the same length, got {action.raw.dtype} {action.raw.shape} "
            f"and {action.applied.dtype} {action.applied.shape}."
        )
    message = AppliedActionMsg(
        header=make_header(action.stamp_ns, action.frame_id),
        session_id=action.session_id,
        episode_id=action.episode_id,
        step=action.step,
        chunk_seq=action.chunk_seq,
        base_step=action.base_step,
        step_index=action.step_index,
        chunk_index=action.chunk_index,
        source=int(action.source),
        executed=action.executed,
        action_space=int(action.action_space),
        raw=_float32_array(action.raw),
        applied=_float32_array(action.applied),
        target_pose=pose_to_msg(action.target_pose),
        gripper_width=_float32(action.gripper_width),
        limit_flags=int(action.limits),
        latency=_float32(action.latency),
        state_stamp=ns_to_stamp(action.state_stamp_ns),
    )
    message.target_positions = np.asarray(_vector(action.target_positions, NUM_JOINTS), np.float64)
    return message


def applied_action_from_msg(message: AppliedActionMsg) -> AppliedAction:
    """Return the applied action of a message; raises ConversionError when lengths or enums do not fit."""
    raw, applied = _float32_values(message.raw), _float32_values(message.applied)
    if raw.size != applied.size or applied.size == 0:
        raise ConversionError(f"AppliedAction must carry raw and applied of one length, got {raw.size} and {applied.size}.")
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


def chunk_ack_to_msg(ack: ChunkAck, frame_id: str = "") -> ChunkAckMsg:
    """Return the controller's answer to a chunk as a message."""
    return ChunkAckMsg(
        header=make_header(ack.stamp_ns, frame_id),
        session_id=ack.session_id,
        episode_id=ack.episode_id,
        chunk_seq=ack.chunk_seq,
        result=int(ack.result),
        detail=ack.detail,
    )


def chunk_ack_from_msg(message: ChunkAckMsg) -> ChunkAck:
    """Return the controller's answer of a message."""
    return ChunkAck(
        stamp_ns=stamp_to_ns(message.header.stamp),
        session_id=message.session_id,
        episode_id=message.episode_id,
        chunk_seq=int(message.chunk_seq),
        result=_enum(AckResult, message.result, "result"),
        detail=message.detail,
    )


def episode_to_msg(episode: Episode, operator_name: str = "") -> EpisodeInfo:
    """Return an episode as a message; the header stamp is its first observation."""
    return EpisodeInfo(
        header=make_header(episode.start_ns, ""),
        episode_id=episode.episode_id,
        task=episode.task,
        seed=episode.seed,
        instruction=episode.instruction,
        phase=int(episode.phase),
        step=episode.step,
        max_steps=episode.max_steps,
        operator_name=operator_name,
        robot=episode.robot,
        source=episode.source,
        bag_path=episode.bag_path,
        detail=episode.detail,
    )


def episode_from_msg(message: EpisodeInfo) -> Episode:
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


# --- small parts ------------------------------------------------------------------------------------------------


def _enum(kind: type[EnumT], value: int, what: str) -> EnumT:
    try:
        return kind(int(value))
    except ValueError as error:
        known = ", ".join(f"{member.value} {member.name}" for member in kind)
        raise ConversionError(f"{what} is {int(value)}, expected one of: {known}.") from error


def _float32(value: float) -> float:
    return float(np.float32(value))


def _float32_array(values: Float32Array) -> array[float]:
    # Bytes into array.array is the fast road into rclpy; from a NumPy array it walks element by element.
    result = array("f")
    result.frombytes(memoryview(np.ascontiguousarray(values, np.float32)).cast("B"))
    return result


def _float32_values(values: array[float]) -> Float32Array:
    return np.array(values, np.float32)


def _pose_values(message: PoseMsg) -> Pose:
    p, q = message.position, message.orientation
    return Pose(position=np.array([p.x, p.y, p.z]), quaternion=np.array([q.x, q.y, q.z, q.w]))


def _vector(values: Sequence[float] | np.ndarray, length: int) -> np.ndarray:
    result = np.asarray(values, np.float64)
    if result.shape != (length,):
        raise ConversionError(f"Expected {length} numbers, got shape {result.shape}.")
    return result


def _joint_indices(names: Sequence[str], pattern: str, count: int, what: str) -> list[int]:
    found: dict[int, int] = {}
    for index, name in enumerate(names):
        match = re.search(pattern, name)
        if match and found.setdefault(int(match.group(1)), index) != index:
            raise ConversionError(f"JointState names two joints {match.group(0)!r}: {list(names)}; expected one arm.")
    if len(found) != count:
        raise ConversionError(f"JointState lacks {what}; its names are {list(names)}.")
    return [found[number] for number in range(1, count + 1)]
