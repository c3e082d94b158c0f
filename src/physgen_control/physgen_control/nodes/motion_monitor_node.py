# SPDX-License-Identifier: Apache-2.0
"""The motion monitor as a node: it reads what is sent to the arm and what the arm does, and stops it when it must.

It is not in the way of any message: without it everything works as before. Its stop is a trajectory on the topic that
it watches, then the controller is asked to hold, and the arm's controller is deactivated once the arm should rest.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from physgen_control.controller_config import RobotType
from physgen_control.messages import topics
from physgen_control.monitor.config import ArmLimits, MotionMonitorConfig
from physgen_control.monitor.monitor import MotionMonitor, Reaction
from physgen_control.monitor.segments import Knots, UnreadableTrajectoryError, arm_joints, read_knots
from physgen_control.motion.kinematics import joint_range, joint_top_speed
from physgen_control.nodes import precedence, qos
from physgen_control.nodes.dds_profile import without_shared_memory
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.types import NS_PER_S
from physgen_msgs.msg import SafetyStatus

ARM_CONTROLLER = "physgen_arm_controller"
NAME = "motion_monitor_node: motion"
WATCH_PERIOD_S = 0.05
DIAGNOSTICS_PERIOD_S = 1.0
_AFTER_THE_STOP_S = 0.1
_ASK_AGAIN_S = 0.5
_OLDEST_STATE_S = 0.5
"""A state stamped earlier than this before it arrived has a stamp of another clock."""


class MotionMonitorNode(GuardedNode):
    """Wires one MotionMonitor to the graph; every callback runs on the one executor thread."""

    def __init__(self) -> None:
        super().__init__("motion_monitor_node")
        self.config = declare_from(self, MotionMonitorConfig)
        robot = RobotType(self.config.robot_type)
        lower, upper = joint_range(robot)
        self.monitor = MotionMonitor(self.config, ArmLimits(lower, upper, joint_top_speed(robot)))
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._names = [f"{self.config.robot_type}_joint{index}" for index in range(1, 8)]
        self._own: deque[tuple[float, ...]] = deque(maxlen=8)
        self._stops = self._episodes = 0
        self._reaction_ms = 0.0
        self._reason = ""
        self._deactivate_at: float | None = None
        self._commands = self.create_publisher(JointTrajectory, topics.JOINT_TRAJECTORY, qos.COMMAND)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, qos.COMMAND)
        self._hold = self.create_client(Trigger, topics.HOLD)
        self._hold_due = False
        self._hold_asked_s = -math.inf
        self._switch = _make_switch(self)
        # Last, because from here on somebody may be stopped.
        self.create_subscription(JointTrajectory, topics.JOINT_TRAJECTORY, self._on_trajectory, qos.COMMAND)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, qos.STATE_READER)
        self.create_subscription(SafetyStatus, topics.SAFETY_STATUS, self._on_status, qos.LATCHED)
        self.create_timer(WATCH_PERIOD_S, self._watch, clock=self._steady)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._diagnose, clock=self._steady)

    def on_unexpected(self, error: Exception) -> None:
        """End the node, and with it the graph: a monitor with a bug sees nothing.

        Raises:
            ExternalShutdownException: Always.
        """
        self._call_hold()
        raise ExternalShutdownException from error

    # --- inputs ------------------------------------------------------------------------------------------------

    def _on_trajectory(self, message: JointTrajectory, info: dict[str, Any]) -> None:
        began = time.monotonic_ns()
        if self._is_own(message):
            return
        now_ns = self._now_ns()
        # However busy this process was, the arm's controller began when the message arrived.
        arrival_ns = min(int(info.get("received_timestamp") or now_ns), now_ns)
        waited = (now_ns - arrival_ns) / NS_PER_S
        start_ns = message.header.stamp.sec * NS_PER_S + message.header.stamp.nanosec
        lead = (start_ns - arrival_ns) / NS_PER_S if start_ns else 0.0
        knots: Knots | str
        try:
            knots = read_knots(message.joint_names, message.points)
        except UnreadableTrajectoryError as error:
            knots = str(error)
        self._react(self.monitor.on_trajectory(knots, lead, self._seconds() - waited), began)

    def _on_joints(self, message: JointState) -> None:
        began = time.monotonic_ns()
        try:
            order = arm_joints(message.name)
        except UnreadableTrajectoryError:
            return  # somebody else's joints; if the arm's own never come, that is noticed
        self._names = [message.name[place] for place in order]
        positions = np.asarray(message.position, np.float64)
        velocities = np.asarray(message.velocity, np.float64)
        if len(positions) != len(message.name) or len(velocities) != len(message.name):
            return
        stamp_ns = message.header.stamp.sec * NS_PER_S + message.header.stamp.nanosec
        age = (self._now_ns() - stamp_ns) / NS_PER_S
        if not 0.0 <= age <= _OLDEST_STATE_S:
            age = 0.0
        self._react(self.monitor.on_state(positions[order], velocities[order], age, self._seconds()), began)

    def _on_status(self, _message: SafetyStatus) -> None:
        self.monitor.on_status(self._seconds())

    def _watch(self) -> None:
        began = time.monotonic_ns()
        was_wrong = bool(self.monitor.wrong)
        self._react(self.monitor.watch(self._seconds()), began)
        if was_wrong and not self.monitor.wrong:
            self.get_logger().info("the arm is at rest and nothing is wrong any more")
        self._ask_for_hold()
        if self._deactivate_at is not None and self._seconds() >= self._deactivate_at:
            self._deactivate_at = None
            self._deactivate()

    # --- reactions ---------------------------------------------------------------------------------------------

    def _react(self, reaction: Reaction | None, began: int) -> None:
        if reaction is None:
            return
        if reaction.stop is not None:
            self._send(reaction.stop)
            self._reaction_ms = (time.monotonic_ns() - began) / 1e6
        self._reason = reaction.sentence
        if not reaction.begins:
            return
        self._episodes += 1
        self._call_hold()
        if reaction.stop is not None:
            self._deactivate_at = self._seconds() + float(reaction.stop.times[-1]) + _AFTER_THE_STOP_S
        how = "it is stopped" if reaction.stop is not None else "nobody commanded it, so it is only held"
        self.get_logger().error(f"the arm must not go on, {how}: {reaction.sentence}")
        self._diagnose()

    def _send(self, stop: Knots) -> None:
        """Publish a stop with stamp 0: it begins when it arrives, whatever the clocks say."""
        nanoseconds = round(float(stop.times[0]) * NS_PER_S)
        point = JointTrajectoryPoint(
            positions=stop.positions[0].tolist(),
            velocities=stop.velocities[0].tolist(),
            time_from_start=Duration(sec=nanoseconds // NS_PER_S, nanosec=nanoseconds % NS_PER_S),
        )
        if stop.accelerations is not None:
            point.accelerations = stop.accelerations[0].tolist()
        self._own.append(tuple(point.positions))
        self._commands.publish(JointTrajectory(joint_names=self._names, points=[point]))
        self._stops += 1

    def _is_own(self, message: JointTrajectory) -> bool:
        """Say whether this is a stop of this node, which comes back once; no message says who published it."""
        if len(message.points) != 1:
            return False
        try:
            self._own.remove(tuple(message.points[0].positions))
        except ValueError:
            return False
        return True

    def _call_hold(self) -> None:
        self._hold_due, self._hold_asked_s = True, -math.inf
        self._ask_for_hold()

    def _ask_for_hold(self) -> None:
        """Ask until the controller answers: it may be busy, or not have been found yet."""
        if not self._hold_due or self._seconds() - self._hold_asked_s < _ASK_AGAIN_S:
            return
        if self._hold.service_is_ready():
            self._hold_asked_s = self._seconds()
            self._hold.call_async(Trigger.Request()).add_done_callback(self._on_hold_answered)

    def _on_hold_answered(self, future: Future) -> None:
        if future.exception() is None:
            self._hold_due = False

    def _deactivate(self) -> None:
        if self._switch is None:
            return
        client, kind = self._switch
        if client.service_is_ready():
            client.call_async(
                kind.Request(deactivate_controllers=[ARM_CONTROLLER], strictness=kind.Request.BEST_EFFORT)
            )

    def _diagnose(self) -> None:
        wrong = self.monitor.wrong
        values = {
            "episodes": str(self._episodes),
            "stops": str(self._stops),
            "last": self._reason,
            "reaction_ms": f"{self._reaction_ms:.2f}",
        }
        message = DiagnosticArray(
            status=[
                DiagnosticStatus(
                    level=DiagnosticStatus.ERROR if wrong else DiagnosticStatus.OK,
                    name=NAME,
                    message=wrong or "Nothing is wrong.",
                    hardware_id="arm",
                    values=[KeyValue(key=key, value=value) for key, value in values.items()],
                )
            ]
        )
        message.header.stamp = self.get_clock().now().to_msg()
        with suppress(RCLError):
            self._diagnostics.publish(message)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _seconds(self) -> float:
        return float(self._steady.now().nanoseconds) / NS_PER_S


def _make_switch(node: GuardedNode) -> tuple[Any, Any] | None:
    try:
        from controller_manager_msgs.srv import SwitchController
    except ImportError as error:
        node.get_logger().warning(
            f"{ARM_CONTROLLER} is not deactivated after a stop ({error}); stop and hold remain"
        )
        return None
    return node.create_client(SwitchController, "/controller_manager/switch_controller"), SwitchController


def main() -> int:
    """Run the node until it is told to stop; a bad parameter is one sentence and status 2."""
    precedence.come_first()
    without_shared_memory(os.environ)
    return run_node("motion_monitor_node", MotionMonitorNode)


if __name__ == "__main__":
    sys.exit(main())
