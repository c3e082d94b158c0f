# SPDX-License-Identifier: Apache-2.0
"""What each node of a graph may write, read, serve and call: the table from which access control is generated.

A test starts graphs and compares every node's endpoints with this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from physgen_bringup.graph.spec import NodeSpec
from physgen_control.messages import topics

CAMERAS = ("fixed", "wrist")
IMAGES = tuple(topics.image_topic(camera) for camera in CAMERAS)
INFOS = tuple(topics.camera_info_topic(camera) for camera in CAMERAS)
HEARTBEAT = "/physgen/heartbeat"
RECORDER_STATUS = "/physgen/recorder_status"
RUN_POLICY = "/physgen/run_policy"
OPERATOR = ("/physgen/set_armed", "/physgen/hold", "/physgen/clear_fault")
EPISODE_CALLS = ("/physgen/reset_env", "/physgen/start_episode", "/physgen/stop_episode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Full names; what every node has (parameters, log, clock) is not among them.

    acts: actions that the node asks for. performs: actions that it serves.
    """

    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    performs: tuple[str, ...] = ()


_ROBOT = (topics.JOINT_STATES, topics.CURRENT_POSE)
_TELEOP = (topics.TELEOP_TWIST, topics.TELEOP_JOY)
_GRIPPER_ACTIONS = tuple(f"/franka_gripper/{name}" for name in ("move", "grasp", "gripper_action"))
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
        publishes=(topics.ACTION_CHUNK, topics.POLICY_STATUS, "/physgen/predicted/image_raw", HEARTBEAT),
        subscribes=(*IMAGES, topics.APPLIED_ACTION, topics.EPISODE_INFO, HEARTBEAT),
        serves=("/physgen/set_instruction",),
    ),
    "expert_node": Endpoints(
        publishes=(topics.ACTION_CHUNK, topics.POLICY_STATUS, HEARTBEAT),
        subscribes=(topics.EPISODE_INFO, topics.SIM_STATE, topics.APPLIED_ACTION, HEARTBEAT),
    ),
    "replay_node": Endpoints(
        publishes=(topics.ACTION_CHUNK, topics.POLICY_STATUS, HEARTBEAT),
        subscribes=(
            *(topics.EPISODE_INFO, topics.APPLIED_ACTION, topics.CHUNK_ACK),
            *(topics.JOINT_STATES, HEARTBEAT),
        ),
    ),
    "controller_node": Endpoints(
        publishes=(
            *(topics.APPLIED_ACTION, topics.CHUNK_ACK, topics.SAFETY_STATUS),
            *(topics.JOINT_TRAJECTORY, HEARTBEAT),
        ),
        subscribes=(
            *_ROBOT,
            *_TELEOP,
            *(topics.ACTION_CHUNK, topics.EPISODE_INFO, topics.EXTERNAL_WRENCH, HEARTBEAT),
            topics.ROBOT_STATE,
        ),
        serves=(*OPERATOR, "/physgen/recover"),
        calls=_MANAGER,
        acts=(*_GRIPPER_ACTIONS, _RECOVERY),
    ),
    "motion_monitor_node": Endpoints(
        publishes=(topics.JOINT_TRAJECTORY, topics.DIAGNOSTICS),
        subscribes=(topics.JOINT_TRAJECTORY, topics.JOINT_STATES, topics.SAFETY_STATUS),
        calls=("/physgen/hold", _MANAGER[0]),
    ),
    "bridge_node": Endpoints(
        publishes=(*IMAGES, *INFOS, *_ROBOT, topics.SIM_STATE, topics.EPISODE_INFO, "/clock", HEARTBEAT),
        subscribes=(topics.APPLIED_ACTION, HEARTBEAT),
        serves=("/physgen/reset_env",),
    ),
    "fake_franka_node": Endpoints(
        publishes=(
            *(*IMAGES, *INFOS, *_ROBOT, topics.SIM_STATE, topics.EPISODE_INFO),
            *(
                topics.EXTERNAL_WRENCH,
                HEARTBEAT,
                topics.ROBOT_STATE,
                "/physgen_arm_controller/controller_state",
            ),
        ),
        subscribes=(topics.JOINT_TRAJECTORY, topics.APPLIED_ACTION, HEARTBEAT),
        serves=("/physgen/reset_env", "/franka_gripper/stop", *_FAKE_SWITCHES, *_MANAGER),
        performs=(*_GRIPPER_ACTIONS, "/franka_gripper/homing", _RECOVERY),
    ),
    "recorder_node": Endpoints(
        publishes=(RECORDER_STATUS, topics.DIAGNOSTICS, topics.EPISODE_INFO),
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
        serves=("/physgen/start_episode", "/physgen/stop_episode"),
    ),
    "rollout_node": Endpoints(
        publishes=(topics.EPISODE_INFO,),
        subscribes=(
            *(topics.EPISODE_INFO, topics.SAFETY_STATUS, topics.POLICY_STATUS),
            *(topics.APPLIED_ACTION, topics.CHUNK_ACK),
        ),
        calls=(*EPISODE_CALLS, "/physgen/hold", "/physgen/set_instruction"),
        performs=(RUN_POLICY,),
    ),
    "episode_runner_node": Endpoints(
        subscribes=(
            *(topics.EPISODE_INFO, topics.SAFETY_STATUS, topics.POLICY_STATUS, RECORDER_STATUS),
            *(topics.ACTION_CHUNK, topics.APPLIED_ACTION, topics.JOINT_STATES),
        ),
        calls=("/physgen/reset_env",),
    ),
    "viewer_node": Endpoints(
        subscribes=(
            *(*IMAGES, *INFOS, *_ROBOT, topics.SIM_STATE, topics.EPISODE_INFO, topics.TF_STATIC),
            *(topics.ACTION_CHUNK, topics.CHUNK_ACK, topics.APPLIED_ACTION, topics.SAFETY_STATUS),
            *(topics.POLICY_STATUS, topics.PREDICTED_IMAGE),
        ),
    ),
    "keyboard_teleop_node": Endpoints(
        publishes=_TELEOP, subscribes=(topics.EPISODE_INFO, topics.SAFETY_STATUS), calls=EPISODE_CALLS
    ),
    "joy_teleop_node": Endpoints(
        publishes=_TELEOP, subscribes=(topics.EPISODE_INFO, "/joy"), calls=EPISODE_CALLS
    ),
    "spacemouse_teleop_node": Endpoints(
        publishes=_TELEOP,
        subscribes=(topics.EPISODE_INFO, "/spacenav/twist", "/spacenav/joy"),
        calls=EPISODE_CALLS,
    ),
    "gello_teleop_node": Endpoints(
        publishes=_TELEOP,
        subscribes=(
            *(topics.EPISODE_INFO, topics.CURRENT_POSE, topics.APPLIED_ACTION, "/joy"),
            *("/gello/joint_states", "/gripper/gripper_client/target_gripper_width_percent"),
        ),
        serves=("/teleop/engage",),
        calls=EPISODE_CALLS,
    ),
    "script_teleop_node": Endpoints(
        publishes=_TELEOP,
        subscribes=(topics.EPISODE_INFO, topics.SIM_STATE, topics.SAFETY_STATUS, RECORDER_STATUS),
        calls=EPISODE_CALLS,
    ),
}


def endpoints_of(node: NodeSpec) -> Endpoints | None:
    """The endpoints of a node of this project; None for nodes of other packages."""
    return TABLE.get(node.name) if node.module is not None else None
