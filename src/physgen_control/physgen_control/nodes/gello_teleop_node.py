# SPDX-License-Identifier: Apache-2.0
"""Teleoperation with a GELLO or another joint leader: its joint states become clutch-relative motions of the tool."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Float32
from std_srvs.srv import SetBool

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import ConversionError, applied_action_from_msg, pose_from_msg
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.teleop_node import TeleopConfig, TeleopNode
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import EPISODE_BUTTONS, RELEASED, TeleopCommand
from physgen_control.teleop.gamepad import Gamepad, GamepadConfig
from physgen_control.teleop.leader import Leader, LeaderConfig
from physgen_control.types import NUM_JOINTS, Pose, Source
from physgen_msgs.msg import AppliedAction

NAME = "gello_teleop_node"
ENGAGE = "/teleop/engage"


@dataclass(frozen=True, kw_only=True)
class GelloConfig(TeleopConfig, LeaderConfig):
    """Parameters of the node."""

    leader_topic: str = parameter(
        "/gello/joint_states", description="Joint states of the leader (sensor_msgs/JointState)"
    )
    gripper_topic: str = parameter(
        "/gripper/gripper_client/target_gripper_width_percent",
        description="Trigger of the leader, 0 closed .. 1 open (std_msgs/Float32); empty: it has none",
    )
    input_timeout: float = parameter(
        0.2, description="Leader joints older than this open the clutch", unit="s", ge=0.02, le=5.0
    )
    clutch_index: int = parameter(
        0, description="Button of /joy that is the clutch: a foot pedal or a gamepad", ge=0, le=63
    )

    def __post_init__(self) -> None:
        """Check the joints; see LeaderConfig."""
        LeaderConfig.__post_init__(self)


class GelloTeleopNode(TeleopNode[GelloConfig]):
    """Feeds a Leader with the newest joints, the newest commanded pose and the clutch."""

    def __init__(self) -> None:
        super().__init__(NAME, GelloConfig)
        self._leader = Leader(self.config)
        self._pad = Gamepad(
            GamepadConfig(deadman_index=self.config.clutch_index, close_index=-1, open_index=-1)
        )
        self._joints: list[float] | None = None
        self._joints_ns = 0
        self._opening: float | None = None
        self._measured: Pose | None = None
        self._commanded: Pose | None = None
        self._joy = RELEASED
        self._joy_ns = 0
        self._engaged = False
        self.create_subscription(JointState, self.config.leader_topic, self._on_joints, qos.STATE_READER)
        if self.config.gripper_topic:
            self.create_subscription(Float32, self.config.gripper_topic, self._on_gripper, qos.STATE_READER)
        self.create_subscription(PoseStamped, topics.CURRENT_POSE, self._on_pose, qos.STATE_READER)
        self.create_subscription(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        self.create_subscription(Joy, topics.JOY, self._on_joy, qos.COMMAND)
        self.create_service(SetBool, ENGAGE, self._on_engage)
        self.start()

    def read(self, now_ns: int) -> TeleopCommand:
        """Follow the leader while the clutch is closed and its joints are recent."""
        limit_ns = round(self.config.input_timeout * 1e9)
        joy = self._joy if now_ns - self._joy_ns <= limit_ns else RELEASED
        episode = joy.buttons & frozenset(EPISODE_BUTTONS)
        fresh = self._joints is not None and now_ns - self._joints_ns <= limit_ns
        commanded = self._commanded or self._measured
        if self._engaged and not fresh:
            self._engaged = False
            self.say("The leader is silent: the clutch is open.")
        if not (joy.deadman or self._engaged) or not fresh or self._joints is None or commanded is None:
            self._leader.release()
            return TeleopCommand(buttons=episode)
        followed = self._leader.follow(self._joints, commanded, self._opening)
        return TeleopCommand(twist=followed.twist, buttons=followed.buttons | episode)

    def _on_joints(self, message: JointState) -> None:
        try:
            joints = leader_joints(list(message.name), list(message.position))
            self._leader.leader_pose(joints)
        except UserError as error:
            self.get_logger().error(f"ignored the leader: {error}", throttle_duration_sec=5.0)
            return
        self._joints, self._joints_ns = joints, self.steady_ns()

    def _on_gripper(self, message: Float32) -> None:
        self._opening = float(message.data)

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            self._measured = pose_from_msg(message.pose)
        except ConversionError as error:
            self.get_logger().error(f"ignored a pose: {error}", throttle_duration_sec=5.0)

    def _on_applied(self, message: AppliedAction) -> None:
        action = applied_action_from_msg(message)
        # While the arm is commanded the target is where it goes; otherwise it is where it is measured.
        moving = action.source in (Source.POLICY, Source.TELEOP)
        self._commanded = action.target_pose if moving else None

    def _on_joy(self, message: Joy) -> None:
        self._joy, self._joy_ns = self._pad.read(message.axes, message.buttons), self.steady_ns()

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        recent = self.steady_ns() - self._joints_ns <= round(self.config.input_timeout * 1e9)
        if request.data and (self._joints is None or not recent):
            response.message = f"The leader is silent: nothing comes on {self.config.leader_topic}."
            return response
        self._engaged = bool(request.data)
        response.success = True
        response.message = "The clutch is closed." if self._engaged else "The clutch is open."
        return response


def leader_joints(names: list[str], positions: list[float]) -> list[float]:
    """Return the seven joints in their order: by the number that ends a name, or as they come without names.

    Raises:
        UserError: Not seven joints.
    """
    if not names and len(positions) == NUM_JOINTS:
        return positions
    numbers = [re.search(r"joint_?([1-7])$", name) for name in names]
    found = {int(number.group(1)): index for index, number in enumerate(numbers) if number}
    if len(found) != NUM_JOINTS or len(positions) != len(names):
        raise UserError(f"A leader must report joints that end in joint1 .. joint7, got {names}.")
    return [positions[found[number]] for number in range(1, NUM_JOINTS + 1)]


def main() -> int:
    """Run the node until it is asked to stop."""
    return run_node(NAME, GelloTeleopNode)


if __name__ == "__main__":
    sys.exit(main())
