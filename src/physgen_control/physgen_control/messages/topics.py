# SPDX-License-Identifier: Apache-2.0
"""The names of the graph's topics, services and actions, and which topics belong into the bag of an episode.

Bags are the same whether the recorder of a graph or `physgen collect`, which simulates in one process, wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass

CAMERAS = ("fixed", "wrist")

JOINT_STATES = "/joint_states"
CURRENT_POSE = "/franka_robot_state_broadcaster/current_pose"
SIM_STATE = "/physgen/sim_state"
ACTION_CHUNK = "/physgen/action_chunk"
APPLIED_ACTION = "/physgen/applied_action"
CHUNK_ACK = "/physgen/chunk_ack"
SAFETY_STATUS = "/physgen/safety_status"
EPISODE_INFO = "/physgen/episode_info"
POLICY_STATUS = "/physgen/policy_status"
TELEOP_TWIST = "/teleop/twist"
TELEOP_JOY = "/teleop/joy"
JOINT_TRAJECTORY = "/physgen_arm_controller/joint_trajectory"
PREDICTED_IMAGE = "/physgen/predicted/image_raw"
PREDICTION_ERROR = "/physgen/prediction_error"
ROBOT_STATE = "/franka_robot_state_broadcaster/robot_state"
EXTERNAL_WRENCH = "/franka_robot_state_broadcaster/external_wrench_in_base_frame"
TF_STATIC = "/tf_static"
ROBOT_DESCRIPTION = "/robot_description"
DIAGNOSTICS = "/diagnostics"
CLOCK = "/clock"
HEARTBEAT = "/physgen/heartbeat"
RECORDER_STATUS = "/physgen/recorder_status"
JOY = "/joy"

# Services and actions.
SET_ARMED = "/physgen/set_armed"
HOLD = "/physgen/hold"
CLEAR_FAULT = "/physgen/clear_fault"
RECOVER = "/physgen/recover"
HOME = "/physgen/home"
RESET_ENV = "/physgen/reset_env"
START_EPISODE = "/physgen/start_episode"
STOP_EPISODE = "/physgen/stop_episode"
SET_INSTRUCTION = "/physgen/set_instruction"
RUN_POLICY = "/physgen/run_policy"
GRIPPER = "/franka_gripper"
"""Namespace of the gripper's actions and its stop."""


def image_topic(camera: str, compressed: bool = False) -> str:
    """Return the colour image topic of a camera ("fixed" or "wrist")."""
    return f"/camera/{camera}/color/image_raw" + ("/compressed" if compressed else "")


def camera_info_topic(camera: str) -> str:
    """Return the calibration topic of a camera."""
    return f"/camera/{camera}/color/camera_info"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTopic:
    """A topic of an episode bag."""

    name: str
    type: str
    latched: bool = False
    """Its publisher keeps the last message for late readers (transient local)."""
    best_effort: bool = False
    """Some publisher of it, such as the arm's driver, offers best effort only."""
    required: bool = False
    """An episode without it is incomplete."""
    observation: bool = False
    """It is part of what is observed at each control step, and has one message per step in simulation."""
    stamped: bool = True
    """The message begins with a header; otherwise its stamp is the time of arrival."""
    keep_all: bool = False
    """Several nodes latch it, and all their messages belong into every bag."""


def recorded_topics(
    compressed: bool = False, sim: bool = True, predicted: bool = False
) -> tuple[RecordedTopic, ...]:
    """Return the topics to record.

    Args:
        compressed: Images are recorded as JPEG.
        sim: The simulator's state is required.
        predicted: The frames that the policy imagines are recorded too, and how wrong they were.
    """
    image = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
    cameras = [
        RecordedTopic(name=image_topic(camera, compressed), type=image, required=True, observation=True)
        for camera in CAMERAS
    ]
    infos = [
        RecordedTopic(name=camera_info_topic(camera), type="sensor_msgs/msg/CameraInfo") for camera in CAMERAS
    ]
    predictions = (
        RecordedTopic(name=PREDICTED_IMAGE, type="sensor_msgs/msg/Image", best_effort=True),
        RecordedTopic(name=PREDICTION_ERROR, type="physgen_msgs/msg/PredictionError"),
    )
    return (
        *cameras,
        *infos,
        RecordedTopic(name=JOINT_STATES, type="sensor_msgs/msg/JointState", required=True, observation=True),
        RecordedTopic(
            name=CURRENT_POSE,
            type="geometry_msgs/msg/PoseStamped",
            best_effort=True,
            required=True,
            observation=True,
        ),
        RecordedTopic(name=SIM_STATE, type="physgen_msgs/msg/SimState", required=sim, observation=sim),
        RecordedTopic(name=ACTION_CHUNK, type="physgen_msgs/msg/ActionChunk"),
        RecordedTopic(name=APPLIED_ACTION, type="physgen_msgs/msg/AppliedAction", required=True),
        RecordedTopic(name=CHUNK_ACK, type="physgen_msgs/msg/ChunkAck"),
        RecordedTopic(name=SAFETY_STATUS, type="physgen_msgs/msg/SafetyStatus", latched=True),
        RecordedTopic(name=EPISODE_INFO, type="physgen_msgs/msg/EpisodeInfo", latched=True, required=True),
        RecordedTopic(name=POLICY_STATUS, type="physgen_msgs/msg/PolicyStatus", latched=True),
        RecordedTopic(name=TELEOP_TWIST, type="geometry_msgs/msg/TwistStamped"),
        RecordedTopic(name=TELEOP_JOY, type="sensor_msgs/msg/Joy"),
        RecordedTopic(name=JOINT_TRAJECTORY, type="trajectory_msgs/msg/JointTrajectory"),
        RecordedTopic(
            name=TF_STATIC, type="tf2_msgs/msg/TFMessage", latched=True, stamped=False, keep_all=True
        ),
        RecordedTopic(name=ROBOT_DESCRIPTION, type="std_msgs/msg/String", latched=True, stamped=False),
        RecordedTopic(name=DIAGNOSTICS, type="diagnostic_msgs/msg/DiagnosticArray"),
        *(predictions if predicted else ()),
    )
