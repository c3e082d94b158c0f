# SPDX-License-Identifier: Apache-2.0
"""Values to messages; a `MessageBuilder` makes them, for rclpy in `nodes`, for rosbags in `bags`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from physgen_control.messages.read import CHUNK_SCHEMA_VERSION, ConversionError
from physgen_control.types import (
    NS_PER_S,
    NUM_JOINTS,
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    Float64Array,
    Pose,
    RobotState,
    SimState,
    UInt8Image,
)


class MessageBuilder(Protocol):
    """Makes messages of one kind (rclpy classes or bag dataclasses)."""

    def make(self, name: str, /, **fields: Any) -> Any:
        """Return a message of the type `package/msg/Name` with all its fields."""

    def numbers(self, values: np.ndarray) -> Any:
        """Return an unbounded number sequence in this kind's representation; keeps the dtype."""


# --- time ------------------------------------------------------------------------------------------


def time_fields(ns: int) -> dict[str, int]:
    """Return the fields of a Time.

    Raises:
        ConversionError: The time [ns] lies outside 0 .. 2^31 s, all that a Time holds.
    """
    seconds, rest = divmod(int(ns), NS_PER_S)
    if not 0 <= seconds < 2**31:
        raise ConversionError(f"A ROS time must lie in 0 .. 2^31 seconds, got {ns} ns.")
    return {"sec": seconds, "nanosec": rest}


def duration_fields(ns: int) -> dict[str, int]:
    """Return the fields of a Duration.

    Raises:
        ConversionError: The duration [ns] lies outside +-2^31 s, all that a Duration holds.
    """
    seconds, rest = divmod(int(ns), NS_PER_S)
    if not -(2**31) <= seconds < 2**31:
        raise ConversionError(f"A ROS duration must lie in +-2^31 seconds, got {ns} ns.")
    return {"sec": seconds, "nanosec": rest}


def build_time(build: MessageBuilder, ns: int) -> Any:
    """Return a Time message."""
    return build.make("builtin_interfaces/msg/Time", **time_fields(ns))


def build_header(build: MessageBuilder, stamp_ns: int, frame_id: str) -> Any:
    """Return a header with the stamp [ns of ROS time] and frame."""
    return build.make("std_msgs/msg/Header", stamp=build_time(build, stamp_ns), frame_id=frame_id)


# --- values to messages ----------------------------------------------------------------------------


def build_pose(build: MessageBuilder, pose: Pose) -> Any:
    """Return a Pose message; position [m] and quaternion (x, y, z, w) are float64 on both sides."""
    x, y, z = (float(v) for v in _vector(pose.position, 3))
    qx, qy, qz, qw = (float(v) for v in _vector(pose.quaternion, 4))
    return build.make(
        "geometry_msgs/msg/Pose",
        position=build.make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=build.make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
    )


def build_joint_state(build: MessageBuilder, state: RobotState, joint_prefix: str, frame_id: str) -> Any:
    """Return /joint_states: PREFIX_joint1..7 and PREFIX_finger_joint1/2, each finger at half the opening."""
    names = [f"{joint_prefix}_joint{i}" for i in range(1, NUM_JOINTS + 1)]
    names += [f"{joint_prefix}_finger_joint{i}" for i in (1, 2)]
    finger = float(state.gripper_width) / 2
    return build.make(
        "sensor_msgs/msg/JointState",
        header=build_header(build, state.stamp_ns, frame_id),
        name=names,
        position=build.numbers(np.array([*_vector(state.positions, NUM_JOINTS), finger, finger])),
        velocity=build.numbers(np.array([*_vector(state.velocities, NUM_JOINTS), 0.0, 0.0])),
        effort=build.numbers(np.empty(0)),
    )


def build_current_pose(build: MessageBuilder, state: RobotState, frame_id: str) -> Any:
    """Return the PoseStamped of the tool centre point."""
    header = build_header(build, state.stamp_ns, frame_id)
    return build.make("geometry_msgs/msg/PoseStamped", header=header, pose=build_pose(build, state.tcp_pose))


def build_sim_state(build: MessageBuilder, state: SimState) -> Any:
    """Return the privileged simulator state; poses are in `state.frame_id`."""
    return build.make(
        "physgen_msgs/msg/SimState",
        header=build_header(build, state.stamp_ns, state.frame_id),
        episode_id=state.episode_id,
        names=list(state.objects),
        poses=[build_pose(build, pose) for pose in state.objects.values()],
        tcp_pose=build_pose(build, state.tcp_pose),
        gripper_width=_float32(state.gripper_width),
        success=bool(state.success),
    )


def build_action_chunk(build: MessageBuilder, chunk: ActionChunk) -> Any:
    """Return a chunk in SI units (`normalized` false).

    Raises:
        ConversionError: Its data is not float32 [num_chunks, horizon, action_dim].
    """
    data = np.ascontiguousarray(chunk.data)
    if data.dtype != np.float32 or data.ndim != 3:
        raise ConversionError(
            "Chunk data must be float32 of shape (num_chunks, horizon, action_dim), "
            f"got {data.dtype} {data.shape}."
        )
    num_chunks, horizon, action_dim = data.shape
    return build.make(
        "physgen_msgs/msg/ActionChunk",
        header=build_header(build, chunk.stamp_ns, chunk.frame_id),
        schema_version=CHUNK_SCHEMA_VERSION,
        session_id=chunk.session_id,
        episode_id=chunk.episode_id,
        chunk_seq=int(chunk.chunk_seq),
        base_step=int(chunk.base_step),
        observation_stamp=build_time(build, chunk.observation_stamp_ns),
        inference_start=build_time(build, chunk.inference_start_ns),
        inference_end=build_time(build, chunk.inference_end_ns),
        valid_until=build_time(build, chunk.valid_until_ns),
        step_period=build.make("builtin_interfaces/msg/Duration", **duration_fields(chunk.step_period_ns)),
        action_space=int(chunk.action_space),
        rotation=int(chunk.rotation),
        delta_reference=int(chunk.delta_reference),
        gripper_mode=int(chunk.gripper_mode),
        num_chunks=num_chunks,
        horizon=horizon,
        action_dim=action_dim,
        execute_steps=int(chunk.execute_steps),
        data=build.numbers(data.reshape(-1)),
        normalized=False,
        scale=build.numbers(np.empty(0, np.float32)),
        instruction=chunk.instruction,
        policy_id=chunk.policy_id,
    )


def build_applied_action(build: MessageBuilder, action: AppliedAction) -> Any:
    """Return an applied action; `gripper_width` and `latency` become float32.

    Raises:
        ConversionError: `raw` and `applied` are not float32 of one length.
    """
    if (
        action.raw.dtype != np.float32
        or action.applied.dtype != np.float32
        or action.raw.shape != action.applied.shape
    ):
        raise ConversionError(
            f"raw and applied must be float32 of the same length, got {action.raw.dtype} {action.raw.shape} "
            f"and {action.applied.dtype} {action.applied.shape}."
        )
    return build.make(
        "physgen_msgs/msg/AppliedAction",
        header=build_header(build, action.stamp_ns, action.frame_id),
        session_id=action.session_id,
        episode_id=action.episode_id,
        step=int(action.step),
        chunk_seq=int(action.chunk_seq),
        base_step=int(action.base_step),
        step_index=int(action.step_index),
        chunk_index=int(action.chunk_index),
        source=int(action.source),
        executed=bool(action.executed),
        action_space=int(action.action_space),
        raw=build.numbers(action.raw),
        applied=build.numbers(action.applied),
        target_pose=build_pose(build, action.target_pose),
        target_positions=_vector(action.target_positions, NUM_JOINTS),
        gripper_width=_float32(action.gripper_width),
        limit_flags=int(action.limits),
        latency=_float32(action.latency),
        state_stamp=build_time(build, action.state_stamp_ns),
    )


def build_chunk_ack(build: MessageBuilder, ack: ChunkAck, frame_id: str) -> Any:
    """Return the controller's answer to a chunk."""
    return build.make(
        "physgen_msgs/msg/ChunkAck",
        header=build_header(build, ack.stamp_ns, frame_id),
        session_id=ack.session_id,
        episode_id=ack.episode_id,
        chunk_seq=int(ack.chunk_seq),
        result=int(ack.result),
        detail=ack.detail,
    )


def build_episode(build: MessageBuilder, episode: Episode, operator_name: str) -> Any:
    """Return an EpisodeInfo; the header stamp is its first observation."""
    return build.make(
        "physgen_msgs/msg/EpisodeInfo",
        header=build_header(build, episode.start_ns, ""),
        episode_id=episode.episode_id,
        task=episode.task,
        seed=int(episode.seed),
        instruction=episode.instruction,
        phase=int(episode.phase),
        step=int(episode.step),
        max_steps=int(episode.max_steps),
        operator_name=operator_name,
        robot=episode.robot,
        source=episode.source,
        bag_path=episode.bag_path,
        detail=episode.detail,
    )


def check_rgb(rgb: UInt8Image) -> None:
    """Check that an image is uint8 [height, width, 3] and not empty.

    Raises:
        ConversionError: It is not.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ConversionError(
            f"An image must be uint8 of shape (height, width, 3), got {rgb.dtype} {rgb.shape}."
        )


def build_image(build: MessageBuilder, rgb: UInt8Image, stamp_ns: int, frame_id: str) -> Any:
    """Return an rgb8 Image; the pixels are copied.

    Raises:
        ConversionError: The image is not uint8 [height, width, 3].
    """
    check_rgb(rgb)
    height, width, _ = rgb.shape
    return build.make(
        "sensor_msgs/msg/Image",
        header=build_header(build, stamp_ns, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=build.numbers(np.ascontiguousarray(rgb).reshape(-1)),
    )


def build_camera_info(
    build: MessageBuilder, width: int, height: int, intrinsics: Float64Array, stamp_ns: int, frame_id: str
) -> Any:
    """Return the calibration of an undistorted pinhole camera.

    Args:
        build: Makes the messages.
        width: Of the image [pixels].
        height: Of the image [pixels].
        intrinsics: K, [3, 3] in pixels; zero means uncalibrated.
        stamp_ns: That of the image [ns].
        frame_id: Optical frame of the camera.

    Raises:
        ConversionError: K is not 3 x 3.
    """
    k = np.asarray(intrinsics, np.float64)
    if k.shape != (3, 3):
        raise ConversionError(f"Intrinsics must be a 3 x 3 matrix, got shape {k.shape}.")
    roi = build.make(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return build.make(
        "sensor_msgs/msg/CameraInfo",
        header=build_header(build, stamp_ns, frame_id),
        height=int(height),
        width=int(width),
        distortion_model="plumb_bob",
        d=build.numbers(np.zeros(5)),
        k=k.reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def _float32(value: float) -> float:
    return float(np.float32(value))


def _vector(values: Sequence[float] | np.ndarray, length: int) -> np.ndarray:
    result = np.asarray(values, np.float64)
    if result.shape != (length,):
        raise ConversionError(f"Expected {length} numbers, got shape {result.shape}.")
    return result
