# SPDX-License-Identifier: Apache-2.0
"""What the controller node needs of franka_ros2 beyond topics of common types: fingers, robot mode, error recovery.

Types of franka_msgs, control_msgs and controller_manager_msgs are used where they are installed; without them the
controller says once what is missing and does without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from physgen_control.controller.core import ControllerCore
from physgen_control.controller.gripper import MAX_TRIES, GripperAdapter, GripperGoal
from physgen_control.controller.robot_mode import mode_obstacle
from physgen_control.controller_config import ControllerConfig, GripperInterface, seconds_to_ns
from physgen_control.messages import topics
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat

HARDWARE = "FrankaHardwareInterface"
CONTROLLERS = ("joint_state_broadcaster", "franka_robot_state_broadcaster", "physgen_arm_controller")
_STEP_TIMEOUT_S = 10.0
_NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)

WATCHERS = ("motion_monitor_node", "recorder_node")
"""Nodes that listen to joint trajectories and move nothing."""


class ArmDriver:
    """Talks to one arm's driver; every method is called from the node's executor thread."""

    def __init__(
        self, node: GuardedNode, heartbeat: Heartbeat, core: ControllerCore, config: ControllerConfig
    ) -> None:
        self._node, self._heartbeat, self._core, self._config = node, heartbeat, core, config
        self._gripper = _make_gripper(node, core, config)
        self._mode = _make_mode_reader(node)
        self._recovery = _make_recovery(node, core)
        self._seen_driver = False

    def command_gripper(self, command: float) -> None:
        """Pass on the command in force: +1 open, -1 closed."""
        if self._gripper is not None:
            self._gripper.command(command)

    def recover(self) -> tuple[bool, str]:
        """Start the recovery sequence; its progress is told in SafetyStatus.detail."""
        if self._recovery is None:
            return False, (
                "Error recovery needs franka_msgs and controller_manager_msgs, which are not installed here: recover "
                "the robot in Desk and activate its controllers."
            )
        return self._recovery.start()

    def watch(self) -> None:
        """Look at the robot's mode, at who is there, and at goals that never end; call it at about 10 Hz."""
        drivers = self._heartbeat.living_publishers(topics.CURRENT_POSE)
        self._seen_driver = self._seen_driver or drivers > 0
        obstacle = self._mode.obstacle() if self._mode is not None else ""
        if self._seen_driver and not drivers:
            obstacle = "Nobody publishes the robot's pose any more: its driver died or was stopped."
        elif not obstacle and not self._listeners():
            obstacle = "Nobody listens to joint trajectories: physgen_arm_controller is not active."
        self._core.on_robot_mode(obstacle)
        if self._gripper is not None:
            self._gripper.watch()
        if self._recovery is not None:
            self._recovery.watch()

    def _listeners(self) -> int:
        """Return how many would move an arm by a trajectory: nodes that only watch do not count."""
        listed = self._node.get_subscriptions_info_by_topic(topics.JOINT_TRAJECTORY)
        return sum(entry.node_name not in WATCHERS for entry in listed)


class GripperClient:
    """Sends GripperAdapter's goals to one kind of action and reports how they end.

    `pick` turns a goal into client, message, and whether an abort still counts as done.
    """

    def __init__(
        self,
        node: GuardedNode,
        core: ControllerCore,
        config: ControllerConfig,
        pick: Callable[[GripperGoal], tuple[ActionClient, Any, bool]],
    ) -> None:
        self._node, self._core, self._pick = node, core, pick
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._adapter = GripperAdapter(config)
        self._timeout_ns = seconds_to_ns(config.gripper_timeout)
        self._sent_ns: int | None = None
        self._count = 0

    def command(self, command: float) -> None:
        """Send a goal if the command in force asks for one."""
        goal = self._adapter.goal(command, self._now_ns())
        if goal is None:
            return
        client, message, abort_is_done = self._pick(goal)
        if not client.server_is_ready():
            self._end(False, "The gripper driver is not there (its action server does not answer)")
            return
        self._count += 1
        count, self._sent_ns = self._count, self._now_ns()
        future = client.send_goal_async(message)
        self._node.when_done(future, lambda done: self._on_answer(count, done.result(), abort_is_done))

    def watch(self) -> None:
        """Give up a goal that never ends."""
        if self._sent_ns is not None and self._now_ns() - self._sent_ns > self._timeout_ns:
            self._count += 1  # whatever is still heard of it counts no more
            self._end(False, f"A gripper goal did not end within {self._timeout_ns / 1e9:g} s")

    def _on_answer(self, count: int, handle: Any, abort_is_done: bool) -> None:
        if count != self._count:
            return
        if not handle.accepted:
            self._end(False, "The gripper driver refused a goal")
            return
        future = handle.get_result_async()
        self._node.when_done(future, lambda done: self._on_result(count, done.result(), abort_is_done))

    def _on_result(self, count: int, result: Any, abort_is_done: bool) -> None:
        if count != self._count:
            return
        ok = result.status == GoalStatus.STATUS_SUCCEEDED or abort_is_done
        self._end(ok, "" if ok else "A gripper goal failed")

    def _end(self, ok: bool, trouble: str) -> None:
        self._sent_ns = None
        self._adapter.finished(ok)
        goes_on = (
            f"it failed {MAX_TRIES} times and is sent again when the command changes."
            if self._adapter.gave_up
            else "it is sent again."
        )
        self._core.on_gripper(f"{trouble}; {goes_on}" if trouble else "")

    def _now_ns(self) -> int:
        return int(self._steady.now().nanoseconds)  # how long a driver takes is no matter of dates


def _make_gripper(node: GuardedNode, core: ControllerCore, config: ControllerConfig) -> GripperClient | None:
    wanted = config.gripper_interface
    if wanted is GripperInterface.NONE:
        return None
    missing = ""
    if wanted in (GripperInterface.AUTO, GripperInterface.FRANKA):
        try:
            return GripperClient(node, core, config, _franka_goals(node))
        except ImportError as error:
            missing = str(error)
    if wanted in (GripperInterface.AUTO, GripperInterface.GRIPPER_COMMAND):
        try:
            return GripperClient(node, core, config, _gripper_command_goals(node))
        except ImportError as error:
            missing = str(error)
    node.get_logger().warning(
        f"no gripper actions ({missing}); only a world that reads AppliedAction moves fingers"
    )
    return None


def _franka_goals(node: GuardedNode) -> Callable[[GripperGoal], tuple[ActionClient, Any, bool]]:
    """Make a Move of opening and a Grasp of closing: any width is a success there, so an abort is a failure."""
    from franka_msgs.action import Grasp, Move

    move = ActionClient(node, Move, f"{topics.GRIPPER}/move")
    grasp = ActionClient(node, Grasp, f"{topics.GRIPPER}/grasp")

    def pick(goal: GripperGoal) -> tuple[ActionClient, Any, bool]:
        if goal.force <= 0.0:
            return move, Move.Goal(width=goal.width, speed=goal.speed), False
        message = Grasp.Goal(width=goal.width, speed=goal.speed, force=goal.force)
        message.epsilon.inner = message.epsilon.outer = 0.08
        return grasp, message, False

    return pick


def _gripper_command_goals(node: GuardedNode) -> Callable[[GripperGoal], tuple[ActionClient, Any, bool]]:
    """Make franka_gripper's GripperCommand: its position is HALF the opening; closing on an object ends as aborted."""
    from control_msgs.action import GripperCommand

    client = ActionClient(node, GripperCommand, f"{topics.GRIPPER}/gripper_action")

    def pick(goal: GripperGoal) -> tuple[ActionClient, Any, bool]:
        message = GripperCommand.Goal()
        message.command.position, message.command.max_effort = goal.width / 2.0, goal.force
        return client, message, goal.force > 0.0

    return pick


class RobotModeReader:
    """Reads the newest FrankaRobotState on demand. It comes at 1 kHz: no executor may be woken by it."""

    def __init__(self, node: GuardedNode, kind: Any) -> None:
        # A node that nobody spins; its subscription keeps the newest message until it is taken.
        self._node = rclpy.create_node(
            f"{node.get_name()}_robot_state",
            context=node.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._subscription = self._node.create_subscription(
            kind, topics.ROBOT_STATE, lambda _message: None, _NEWEST
        )
        self._obstacle = ""

    def obstacle(self) -> str:
        """Return why the robot would not move, by the newest message; empty: it would, or nothing was heard yet."""
        with self._subscription.handle:
            taken = self._subscription.handle.take_message(
                self._subscription.msg_type, self._subscription.raw
            )
        if taken is not None:
            message = taken[0]
            errors = [
                name
                for name in message.current_errors.get_fields_and_field_types()
                if getattr(message.current_errors, name)
            ]
            self._obstacle = mode_obstacle(message.robot_mode, errors)
        return self._obstacle


def _make_mode_reader(node: GuardedNode) -> RobotModeReader | None:
    try:
        from franka_msgs.msg import FrankaRobotState
    except ImportError as error:
        node.get_logger().warning(
            f"the robot's mode is not watched ({error}); a reflex shows as a stale state"
        )
        return None
    return RobotModeReader(node, FrankaRobotState)


class Recovery:
    """The three calls after a reflex, in order; one at a time, each with a time limit."""

    def __init__(self, node: GuardedNode, core: ControllerCore, kinds: tuple[Any, Any, Any]) -> None:
        recovery, hardware, switch = kinds
        manager = "/controller_manager"
        self._node, self._core = node, core
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._recover = ActionClient(node, recovery, "/action_server/error_recovery")
        self._hardware = node.create_client(hardware, f"{manager}/set_hardware_component_state")
        self._switch = node.create_client(switch, f"{manager}/switch_controller")
        self._kinds = kinds
        self._deadline_ns: int | None = None
        self._step = ""
        self._count = 0

    def start(self) -> tuple[bool, str]:
        """Begin, unless a recovery runs or the driver is not there."""
        if self._deadline_ns is not None:
            return False, f"A recovery is running: {self._step}."
        if not self._recover.server_is_ready():
            return False, "The driver's error recovery does not answer: is franka_ros2 running?"
        self._begin("error recovery")
        future = self._recover.send_goal_async(self._kinds[0].Goal())
        self._then(future, self._on_goal)
        return True, "Recovery started; SafetyStatus says how it ends."

    def watch(self) -> None:
        """Give up a step that takes too long."""
        if self._deadline_ns is not None and self._now_ns() > self._deadline_ns:
            self._end(f"Recovery failed: {self._step} did not end within {_STEP_TIMEOUT_S:g} s.")

    def _on_goal(self, handle: Any) -> None:
        if not handle.accepted:
            self._end("Recovery failed: the robot refused error recovery; is the user stop released?")
            return
        self._then(handle.get_result_async(), self._on_recovered)

    def _on_recovered(self, result: Any) -> None:
        if result.status != GoalStatus.STATUS_SUCCEEDED:
            self._end("Recovery failed: the robot keeps its error; is the user stop released?")
            return
        self._begin("activation of the hardware")
        request = self._kinds[1].Request(name=HARDWARE)
        request.target_state.label = "active"
        self._then(self._hardware.call_async(request), self._on_hardware)

    def _on_hardware(self, response: Any) -> None:
        if not response.ok:
            self._end(f"Recovery failed: {HARDWARE} stayed {response.state.label}.")
            return
        self._begin("activation of the controllers")
        request = self._kinds[2].Request(
            activate_controllers=list(CONTROLLERS), strictness=self._kinds[2].Request.BEST_EFFORT
        )
        self._then(self._switch.call_async(request), self._on_switched)

    def _on_switched(self, response: Any) -> None:
        self._end(
            "The robot is recovered: arm again to continue."
            if response.ok
            else f"Recovery failed: the controllers were not activated ({response.message})."
        )

    def _begin(self, step: str) -> None:
        self._step = step
        self._deadline_ns = self._now_ns() + seconds_to_ns(_STEP_TIMEOUT_S)

    def _then(self, future: Any, call: Callable[[Any], None]) -> None:
        count = self._count

        def wrapper(done: Any) -> None:
            if count == self._count:  # not given up meanwhile
                call(done.result())

        self._node.when_done(future, wrapper)

    def _end(self, sentence: str) -> None:
        self._count += 1
        self._deadline_ns = None
        self._core.remark(sentence)
        self._node.get_logger().info(sentence)

    def _now_ns(self) -> int:
        return int(self._steady.now().nanoseconds)  # how long a driver takes is no matter of dates


def _make_recovery(node: GuardedNode, core: ControllerCore) -> Recovery | None:
    try:
        from controller_manager_msgs.srv import SetHardwareComponentState, SwitchController
        from franka_msgs.action import ErrorRecovery
    except ImportError as error:
        node.get_logger().warning(f"no error recovery from here ({error})")
        return None
    return Recovery(node, core, (ErrorRecovery, SetHardwareComponentState, SwitchController))
