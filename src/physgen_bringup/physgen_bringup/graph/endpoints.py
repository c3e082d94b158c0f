# SPDX-License-Identifier: Apache-2.0
"""What each node of a graph may write, read, serve and call: the table from which access control is generated.

A test starts graphs and compares every node's endpoints with this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from physgen_bringup.graph.spec import NodeSpec
from physgen_control.messages import topics

IMAGES = tuple(topics.image_topic(camera) for camera in topics.CAMERAS)
INFOS = tuple(topics.camera_info_topic(camera) for camera in topics.CAMERAS)
OPERATOR = (topics.SET_ARMED, topics.HOLD, topics.CLEAR_FAULT)
EPISODE_CALLS = (topics.RESET_ENV, topics.START_EPISODE, topics.STOP_EPISODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Full names of what a node uses; what every node has (parameters, log, clock) is not among them."""

    publishes: tuple[str, ...] = ()
    """Topics."""
    subscribes: tuple[str, ...] = ()
    """Topics."""
    serves: tuple[str, ...] = ()
    """Services."""
    calls: tuple[str, ...] = ()
    """Services."""
    acts: tuple[str, ...] = ()
    """Actions that the node asks for."""
    performs: tuple[str, ...] = ()
    """Actions that it serves."""


_ROBOT = (topics.JOINT_STATES, topics.CURRENT_POSE)
_TELEOP = (topics.TELEOP_TWIST, topics.TELEOP_JOY)
_GRIPPER_ACTIONS = tuple(f"{topics.GRIPPER}/{name}" for name in ("move", "grasp", "gripper_action"))
_RECOVERY = "/action_server/error_recovery"
_MANAGER = tuple(
    f"/controller_manager/{name}" for name in ("switch_controller", "set_hardware_component_state")
)
_FAKE_SWITCHES = tuple(
    f"/fake_franka/{name}"
    for name in ("user_stop", "block_arm", "freeze_state", "fail_goals", "drop_goals", "reflex", "recover")
)

TABLE = {
    "policy_node": Endpoints(
        publishes=(
            topics.ACTION_CHUNK,
            topics.POLICY_STATUS,
            topics.PREDICTED_IMAGE,
            topics.PREDICTION_ERROR,
            topics.HEARTBEAT,
        ),
        subscribes=(*IMAGES, *_ROBOT, topics.APPLIED_ACTION, topics.EPISODE_INFO, topics.HEARTBEAT),
        serves=(topics.SET_INSTRUCTION,),
        calls=(topics.HOLD,),
    ),
    "expert_node": Endpoints(
        publishes=(topics.ACTION_CHUNK, topics.POLICY_STATUS, topics.HEARTBEAT),
        subscribes=(topics.EPISODE_INFO, topics.SIM_STATE, topics.APPLIED_ACTION, topics.HEARTBEAT),
    ),
    "replay_node": Endpoints(
        publishes=(topics.ACTION_CHUNK, topics.POLICY_STATUS, topics.HEARTBEAT),
        subscribes=(
            *(topics.EPISODE_INFO, topics.APPLIED_ACTION, topics.CHUNK_ACK),
            *(topics.JOINT_STATES, topics.HEARTBEAT),
        ),
    ),
    "controller_node": Endpoints(
        publishes=(
            *(topics.APPLIED_ACTION, topics.CHUNK_ACK, topics.SAFETY_STATUS),
            *(topics.JOINT_TRAJECTORY, topics.HEARTBEAT),
        ),
        subscribes=(
            *_ROBOT,
            *_TELEOP,
            *(topics.ACTION_CHUNK, topics.EPISODE_INFO, topics.EXTERNAL_WRENCH, topics.HEARTBEAT),
            topics.ROBOT_STATE,
        ),
        serves=(*OPERATOR, topics.RECOVER),
        calls=_MANAGER,
        acts=(*_GRIPPER_ACTIONS, _RECOVERY),
    ),
    "motion_monitor_node": Endpoints(
        publishes=(topics.JOINT_TRAJECTORY, topics.DIAGNOSTICS),
        subscribes=(topics.JOINT_TRAJECTORY, topics.JOINT_STATES, topics.SAFETY_STATUS),
        calls=(topics.HOLD, _MANAGER[0]),
    ),
    "bridge_node": Endpoints(
        publishes=(
            *IMAGES,
            *INFOS,
            *_ROBOT,
            topics.SIM_STATE,
            topics.EPISODE_INFO,
            topics.CLOCK,
            topics.HEARTBEAT,
        ),
        subscribes=(topics.APPLIED_ACTION, topics.HEARTBEAT),
        serves=(topics.RESET_ENV,),
    ),
    "fake_franka_node": Endpoints(
        publishes=(
            *(*IMAGES, *INFOS, *_ROBOT, topics.SIM_STATE, topics.EPISODE_INFO),
            *(
                topics.EXTERNAL_WRENCH,
                topics.HEARTBEAT,
                topics.ROBOT_STATE,
                "/physgen_arm_controller/controller_state",
            ),
        ),
        subscribes=(topics.JOINT_TRAJECTORY, topics.APPLIED_ACTION, topics.HEARTBEAT),
        serves=(topics.RESET_ENV, f"{topics.GRIPPER}/stop", *_FAKE_SWITCHES, *_MANAGER),
        performs=(*_GRIPPER_ACTIONS, f"{topics.GRIPPER}/homing", _RECOVERY),
    ),
    "recorder_node": Endpoints(
        publishes=(topics.RECORDER_STATUS, topics.DIAGNOSTICS, topics.EPISODE_INFO),
        subscribes=tuple(
            sorted(
                {
                    topic.name
                    for sim in (False, True)
                    for compressed in (False, True)
                    for topic in topics.recorded_topics(sim=sim, compressed=compressed, predicted=True)
                }
                | {topics.EPISODE_INFO}
            )
        ),
        serves=(topics.START_EPISODE, topics.STOP_EPISODE),
    ),
    "rollout_node": Endpoints(
        publishes=(topics.EPISODE_INFO,),
        subscribes=(
            *(topics.EPISODE_INFO, topics.SAFETY_STATUS, topics.POLICY_STATUS),
            *(topics.APPLIED_ACTION, topics.CHUNK_ACK),
        ),
        calls=(*EPISODE_CALLS, topics.HOLD, topics.SET_INSTRUCTION),
        performs=(topics.RUN_POLICY,),
    ),
    "episode_runner_node": Endpoints(
        subscribes=(
            *(topics.EPISODE_INFO, topics.SAFETY_STATUS, topics.POLICY_STATUS, topics.RECORDER_STATUS),
            *(topics.ACTION_CHUNK, topics.APPLIED_ACTION, topics.JOINT_STATES),
        ),
        calls=(topics.RESET_ENV,),
    ),
    "viewer_node": Endpoints(
        subscribes=(
            *(*IMAGES, *INFOS, *_ROBOT, topics.SIM_STATE, topics.EPISODE_INFO, topics.TF_STATIC),
            *(topics.ACTION_CHUNK, topics.CHUNK_ACK, topics.APPLIED_ACTION, topics.SAFETY_STATUS),
            *(topics.POLICY_STATUS, topics.PREDICTED_IMAGE, topics.PREDICTION_ERROR),
        ),
    ),
    "keyboard_teleop_node": Endpoints(
        publishes=_TELEOP, subscribes=(topics.EPISODE_INFO, topics.SAFETY_STATUS), calls=EPISODE_CALLS
    ),
    "joy_teleop_node": Endpoints(
        publishes=_TELEOP, subscribes=(topics.EPISODE_INFO, topics.JOY), calls=EPISODE_CALLS
    ),
    "spacemouse_teleop_node": Endpoints(
        publishes=_TELEOP,
        subscribes=(topics.EPISODE_INFO, "/spacenav/twist", "/spacenav/joy"),
        calls=EPISODE_CALLS,
    ),
    "gello_teleop_node": Endpoints(
        publishes=_TELEOP,
        subscribes=(
            *(topics.EPISODE_INFO, topics.CURRENT_POSE, topics.APPLIED_ACTION, topics.JOY),
            *("/gello/joint_states", "/gripper/gripper_client/target_gripper_width_percent"),
        ),
        serves=("/teleop/engage",),
        calls=EPISODE_CALLS,
    ),
    "script_teleop_node": Endpoints(
        publishes=_TELEOP,
        subscribes=(topics.EPISODE_INFO, topics.SIM_STATE, topics.SAFETY_STATUS, topics.RECORDER_STATUS),
        calls=EPISODE_CALLS,
    ),
}


def endpoints_of(node: NodeSpec) -> Endpoints | None:
    """Return the endpoints of a node of this project; None for nodes of other packages."""
    return TABLE.get(node.name) if node.module is not None else None
