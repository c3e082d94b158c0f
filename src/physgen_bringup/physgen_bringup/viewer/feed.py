# SPDX-License-Identifier: Apache-2.0
"""What the viewer takes from a graph or a bag: each topic with how its messages become values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from physgen_control.messages import read, status, topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One topic that is drawn."""

    topic: str
    type: str
    to_value: Callable[[Any], Any]
    """Message to value, for messages of rclpy and of rosbags alike."""
    keep: int = 1
    """Messages that a live viewer holds until it shows them; the oldest are dropped beyond it."""
    latched: bool = False
    """Its writer keeps the last message for late readers."""


FEEDS: tuple[Feed, ...] = (
    Feed(
        topic=topics.EPISODE_INFO,
        type="physgen_msgs/msg/EpisodeInfo",
        to_value=read.episode_from_msg,
        keep=8,
        latched=True,
    ),
    Feed(
        topic=topics.TF_STATIC,
        type="tf2_msgs/msg/TFMessage",
        to_value=status.static_transforms_from_msg,
        keep=32,
        latched=True,
    ),
    *(
        Feed(
            topic=topics.camera_info_topic(camera),
            type="sensor_msgs/msg/CameraInfo",
            to_value=status.intrinsics_from_msg,
        )
        for camera in topics.CAMERAS
    ),
    Feed(
        topic=topics.CURRENT_POSE,
        type="geometry_msgs/msg/PoseStamped",
        to_value=status.measured_pose_from_msg,
        keep=64,
    ),
    Feed(
        topic=topics.JOINT_STATES, type="sensor_msgs/msg/JointState", to_value=status.measured_joints_from_msg
    ),
    Feed(topic=topics.SIM_STATE, type="physgen_msgs/msg/SimState", to_value=read.sim_state_from_msg),
    *(
        Feed(topic=topics.image_topic(camera), type="sensor_msgs/msg/Image", to_value=read.image_from_msg)
        for camera in topics.CAMERAS
    ),
    Feed(
        topic=topics.ACTION_CHUNK,
        type="physgen_msgs/msg/ActionChunk",
        to_value=read.action_chunk_from_msg,
        keep=8,
    ),
    Feed(topic=topics.CHUNK_ACK, type="physgen_msgs/msg/ChunkAck", to_value=read.chunk_ack_from_msg, keep=8),
    Feed(
        topic=topics.APPLIED_ACTION,
        type="physgen_msgs/msg/AppliedAction",
        to_value=read.applied_action_from_msg,
        keep=64,
    ),
    Feed(
        topic=topics.SAFETY_STATUS,
        type="physgen_msgs/msg/SafetyStatus",
        to_value=status.safety_report_from_msg,
        keep=8,
        latched=True,
    ),
    Feed(
        topic=topics.POLICY_STATUS,
        type="physgen_msgs/msg/PolicyStatus",
        to_value=status.policy_report_from_msg,
        keep=8,
        latched=True,
    ),
    Feed(topic=topics.PREDICTED_IMAGE, type="sensor_msgs/msg/Image", to_value=read.image_from_msg, keep=4),
    Feed(
        topic=topics.PREDICTION_ERROR,
        type="physgen_msgs/msg/PredictionError",
        to_value=status.prediction_report_from_msg,
        keep=8,
    ),
)
"""In the order in which what is held back is shown: a pose before the chunk that starts at it."""

BY_TOPIC = {feed.topic: feed for feed in FEEDS}
