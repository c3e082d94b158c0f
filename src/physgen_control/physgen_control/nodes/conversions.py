# SPDX-License-Identifier: Apache-2.0
"""Messages of rclpy to values of `physgen_control.types` and back, by the rules of `physgen_control.messages`."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, PoseStamped, Quaternion
from geometry_msgs.msg import Pose as PoseMsg
from sensor_msgs.msg import CameraInfo, Image, JointState, RegionOfInterest
from std_msgs.msg import Header

from physgen_control.messages import build
from physgen_control.messages.read import (
    ConversionError,
    action_chunk_from_msg,
    applied_action_from_msg,
    chunk_ack_from_msg,
    episode_from_msg,
    pose_from_msg,
    robot_state_from_msgs,
    sim_state_from_msg,
    stamp_to_ns,
)
from physgen_control.types import (
    NS_PER_S,
    NUM_JOINTS,
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    Pose,
    RobotState,
    SimState,
)
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import ChunkAck as ChunkAckMsg
from physgen_msgs.msg import EpisodeInfo
from physgen_msgs.msg import SimState as SimStateMsg

__all__ = [
    "NS_PER_S",
    "NUM_JOINTS",
    "ConversionError",
    "RosBuilder",
    "action_chunk_from_msg",
    "action_chunk_to_msg",
    "applied_action_from_msg",
    "applied_action_to_msg",
    "chunk_ack_from_msg",
    "chunk_ack_to_msg",
    "episode_from_msg",
    "episode_to_msg",
    "make_header",
    "ns_to_duration",
    "ns_to_stamp",
    "pose_from_msg",
    "pose_to_msg",
    "robot_state_from_msgs",
    "robot_state_to_msgs",
    "sim_state_from_msg",
    "sim_state_to_msg",
    "stamp_to_ns",
]

_CLASSES: dict[str, Any] = {
    "builtin_interfaces/msg/Duration": Duration,
    "builtin_interfaces/msg/Time": Time,
    "geometry_msgs/msg/Point": Point,
    "geometry_msgs/msg/Pose": PoseMsg,
    "geometry_msgs/msg/PoseStamped": PoseStamped,
    "geometry_msgs/msg/Quaternion": Quaternion,
    "physgen_msgs/msg/ActionChunk": ActionChunkMsg,
    "physgen_msgs/msg/AppliedAction": AppliedActionMsg,
    "physgen_msgs/msg/ChunkAck": ChunkAckMsg,
    "physgen_msgs/msg/EpisodeInfo": EpisodeInfo,
    "physgen_msgs/msg/SimState": SimStateMsg,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/JointState": JointState,
    "sensor_msgs/msg/RegionOfInterest": RegionOfInterest,
    "std_msgs/msg/Header": Header,
}


class RosBuilder:
    """Makes rclpy messages."""

    def make(self, name: str, /, **fields: Any) -> Any:
        """Return a message of the type `package/msg/Name`."""
        return _CLASSES[name](**fields)

    def numbers(self, values: np.ndarray) -> array[Any]:
        """Return a sequence as array.array, filled by one copy.

        From a NumPy array, array.array would walk element by element: 100 times slower for an image.
        """
        codes = {np.dtype(np.uint8): "B", np.dtype(np.float32): "f", np.dtype(np.float64): "d"}
        result = array(codes[values.dtype])
        if values.size:
            result.frombytes(np.ascontiguousarray(values).data.cast("B"))
        return result


BUILDER = RosBuilder()


def ns_to_stamp(ns: int) -> Time:
    """Return integer nanoseconds of ROS time as a message; Time holds 0 .. 2^31 s.

    Raises:
        ConversionError: The time lies outside what a Time holds.
    """
    return build.build_time(BUILDER, ns)


def ns_to_duration(ns: int) -> Duration:
    """Return integer nanoseconds as a Duration message."""
    return Duration(**build.duration_fields(ns))


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with the stamp [ns of ROS time] and frame."""
    return build.build_header(BUILDER, stamp_ns, frame_id)


def pose_to_msg(pose: Pose) -> PoseMsg:
    """Return a pose as a message; position [m] and quaternion (x, y, z, w) are float64 on both sides."""
    return build.build_pose(BUILDER, pose)


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
    joints = build.build_joint_state(BUILDER, state, joint_prefix, joint_frame_id)
    return joints, build.build_current_pose(BUILDER, state, frame_id)


def sim_state_to_msg(state: SimState) -> SimStateMsg:
    """Return the privileged simulator state as a message; poses are in `state.frame_id`."""
    return build.build_sim_state(BUILDER, state)


def action_chunk_to_msg(chunk: ActionChunk) -> ActionChunkMsg:
    """Return a chunk as a message, in SI units (`normalized` false).

    Raises:
        ConversionError: Its data is not float32 [num_chunks, horizon, action_dim].
    """
    return build.build_action_chunk(BUILDER, chunk)


def applied_action_to_msg(action: AppliedAction) -> AppliedActionMsg:
    """Return an applied action as a message; `gripper_width` and `latency` become float32."""
    return build.build_applied_action(BUILDER, action)


def chunk_ack_to_msg(ack: ChunkAck, frame_id: str = "") -> ChunkAckMsg:
    """Return the controller's answer to a chunk as a message."""
    return build.build_chunk_ack(BUILDER, ack, frame_id)


def episode_to_msg(episode: Episode, operator_name: str = "") -> EpisodeInfo:
    """Return an episode as a message; the header stamp is its first observation."""
    return build.build_episode(BUILDER, episode, operator_name)
