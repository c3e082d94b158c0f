# SPDX-License-Identifier: Apache-2.0
"""The parts of the fake Franka that need franka_msgs, control_msgs and controller_manager_msgs: actions, robot state.

Import it where these packages are installed; node and robot belong to fake_franka_node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control_msgs.action import GripperCommand
from control_msgs.msg import JointTrajectoryControllerState
from controller_manager_msgs.srv import SetHardwareComponentState, SwitchController
from franka_msgs.action import ErrorRecovery, Grasp, Homing, Move
from franka_msgs.msg import FrankaRobotState
from lifecycle_msgs.msg import State
from rclpy.action import ActionServer, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectoryPoint

from physgen_control.messages import topics
from physgen_control.nodes.conversions import make_header
from physgen_sim_bridge.fake_franka.robot import JOINTS, FakeFranka

DEFAULT_SPEED = 0.1
STATE_PERIOD_S = 0.01
CONTROLLER = "physgen_arm_controller"
HARDWARE = "FrankaHardwareInterface"


class FakeDriver:
    """Serves the driver's actions and services on a node; hardware must be activated after a reflex, as in reality."""

    def __init__(self, node: Node, robot: FakeFranka) -> None:
        self._robot = robot
        self._node = node
        self._reported = ""
        self._done: Future | None = None
        self._servers = [
            self._action(Homing, f"{topics.GRIPPER}/homing", self._home_fingers),
            self._action(Move, f"{topics.GRIPPER}/move", self._move),
            self._action(Grasp, f"{topics.GRIPPER}/grasp", self._grasp),
            self._action(GripperCommand, f"{topics.GRIPPER}/gripper_action", self._gripper_command),
            self._action(ErrorRecovery, "/action_server/error_recovery", self._recover),
        ]
        node.create_service(Trigger, f"{topics.GRIPPER}/stop", self._stop)
        manager = "/controller_manager"
        node.create_service(
            SetHardwareComponentState, f"{manager}/set_hardware_component_state", self._set_hardware
        )
        node.create_service(SwitchController, f"{manager}/switch_controller", self._switch)
        self._state = node.create_publisher(FrankaRobotState, topics.ROBOT_STATE, 10)
        self._controller = node.create_publisher(
            JointTrajectoryControllerState, f"/{CONTROLLER}/controller_state", 10
        )
        node.create_timer(STATE_PERIOD_S, self._tick)

    def _action(self, kind: Any, name: str, execute: Callable[[ServerGoalHandle], Any]) -> ActionServer:
        return ActionServer(self._node, kind, name, execute, goal_callback=self._judge)

    def _judge(self, _goal: object) -> GoalResponse:
        return GoalResponse.REJECT if self._robot.drop_goals else GoalResponse.ACCEPT

    # --- fingers ----------------------------------------------------------------------------------------------

    async def _run(self, width: float, speed: float, force: float) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(False)  # a new goal replaces the running one
        self._robot.fingers.command(width, speed, force)
        self._done = Future()
        await self._done

    async def _home_fingers(self, handle: ServerGoalHandle) -> Homing.Result:
        await self._run(0.0, DEFAULT_SPEED, 0.0)
        await self._run(0.08, DEFAULT_SPEED, 0.0)
        handle.succeed()
        return Homing.Result(success=True)

    async def _move(self, handle: ServerGoalHandle) -> Move.Result:
        goal = handle.request
        await self._run(goal.width, goal.speed, 0.0)
        reached = abs(self._robot.fingers.width - goal.width) < 0.005 and not self._robot.fail_goals
        handle.succeed() if reached else handle.abort()
        return Move.Result(success=reached, error="" if reached else "the width was not reached")

    async def _grasp(self, handle: ServerGoalHandle) -> Grasp.Result:
        goal = handle.request
        await self._run(goal.width, goal.speed, goal.force)
        width = self._robot.fingers.width
        held = goal.width - goal.epsilon.inner <= width <= goal.width + goal.epsilon.outer
        held = held and not self._robot.fail_goals
        handle.succeed() if held else handle.abort()
        return Grasp.Result(success=held, error="" if held else "no object of this width")

    async def _gripper_command(self, handle: ServerGoalHandle) -> GripperCommand.Result:
        """Serve it as franka_gripper: the goal is half the opening, the result the whole one; closing is a grasp."""
        command = handle.request.command
        width = 2.0 * command.position
        if not 0.0 <= width <= 0.08 or self._robot.fail_goals:
            handle.abort()
            return GripperCommand.Result()
        await self._run(width, DEFAULT_SPEED, command.max_effort)
        reached = abs(self._robot.fingers.width - width) < 0.005
        handle.succeed() if reached else handle.abort()
        return GripperCommand.Result(position=self._robot.fingers.width, reached_goal=reached)

    def _stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._robot.fingers.command(self._robot.fingers.width, DEFAULT_SPEED)
        response.success = True
        return response

    # --- recovery ---------------------------------------------------------------------------------------------

    async def _recover(self, handle: ServerGoalHandle) -> ErrorRecovery.Result:
        self._robot.recover()
        handle.succeed() if self._robot.arm.may_move else handle.abort()
        return ErrorRecovery.Result()

    def _set_hardware(
        self, request: SetHardwareComponentState.Request, response: SetHardwareComponentState.Response
    ) -> SetHardwareComponentState.Response:
        wanted = request.target_state.label == "active" or (
            request.target_state.id == State.PRIMARY_STATE_ACTIVE
        )
        response.ok = request.name == HARDWARE and wanted and not self._robot.activate_hardware()
        response.state.label = "active" if self._robot.driver_active else "unconfigured"
        return response

    def _switch(
        self, request: SwitchController.Request, response: SwitchController.Response
    ) -> SwitchController.Response:
        if CONTROLLER in request.activate_controllers:
            response.message = "" if self._robot.controller_active else self._robot.activate()
        response.ok = not response.message
        return response

    # --- state ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        robot = self._robot
        fingers = robot.fingers
        if self._done is not None and not self._done.done():
            width = robot.table.object_width(robot.measure().tcp_pose)
            if fingers.done(width):
                self._done.set_result(True)
        # The broadcaster ends with the hardware component; its last message says why.
        news, self._reported = robot.mode.name != self._reported, robot.mode.name
        if robot.frozen or not (robot.driver_active or news):
            return
        message = FrankaRobotState(header=make_header(robot.now_ns, "base"), robot_mode=int(robot.mode))
        if robot.arm.reflex:
            setattr(message.current_errors, robot.arm.reflex, True)
        message.control_command_success_rate = 1.0
        self._state.publish(message)
        if robot.controller_active:
            self._publish_controller()

    def _publish_controller(self) -> None:
        robot = self._robot
        position, velocity, acceleration = robot.desired()
        message = JointTrajectoryControllerState(
            header=make_header(robot.now_ns, ""), joint_names=list(JOINTS)
        )
        message.reference = JointTrajectoryPoint(
            positions=position.tolist(), velocities=velocity.tolist(), accelerations=acceleration.tolist()
        )
        message.feedback = JointTrajectoryPoint(
            positions=robot.arm.positions.tolist(), velocities=robot.arm.velocities.tolist()
        )
        message.error = JointTrajectoryPoint(positions=(position - robot.arm.positions).tolist())
        self._controller.publish(message)
