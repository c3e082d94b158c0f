# SPDX-License-Identifier: Apache-2.0
"""The controller as a node: topics in, ControllerCore, topics out. No torch, and no decision that the core could take.

A callback that raises leaves the core in FAULT (nothing moves), logs the traceback and keeps the node alive, so that
SafetyStatus still says what happened.
"""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from physgen_control.controller.core import ControllerCore
from physgen_control.controller.snapshot import SafetySnapshot
from physgen_control.controller_config import ArmInterface, ControllerConfig, Pacing
from physgen_control.messages import topics
from physgen_control.messages.graph_identity import own_graph
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.nodes import precedence, qos
from physgen_control.nodes.arm_driver import ArmDriver
from physgen_control.nodes.controller_messages import (
    safety_status_to_msg,
    trajectory_to_msg,
    unreadable_chunk_ack,
)
from physgen_control.nodes.conversions import (
    ConversionError,
    action_chunk_from_msg,
    applied_action_to_msg,
    chunk_ack_to_msg,
    episode_from_msg,
    robot_state_from_msgs,
    stamp_to_ns,
)
from physgen_control.nodes.dds_profile import without_shared_memory
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.types import AckResult
from physgen_msgs.msg import ActionChunk, AppliedAction, ChunkAck, EpisodeInfo, SafetyStatus

WATCH_PERIOD_S = 0.1
LATE_S = 0.03
"""Half the time to a trajectory's first knot: later than this it would not join the one before smoothly."""

STATUS_PERIOD_S = 0.25
POSE_SLACK_NS = 50_000_000
"""Joint states and TCP poses of the real driver are published by different broadcasters: nearest within this."""


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Let a callback that raises end in FAULT and in the log, never in the executor."""

    @wraps(method)
    def wrapper(self: ControllerNode, *arguments: Any) -> None:
        try:
            self.core.on_time(self._now_ns())
            method(self, *arguments)
        except ConversionError as error:
            self.get_logger().error(f"ignored a message: {error}", throttle_duration_sec=1.0)
        except Exception as error:  # noqa: BLE001  (whatever fails, the arm holds)
            if not self.context.ok():
                return  # SIGINT came within the callback: nothing can be published any more
            self.get_logger().error(traceback.format_exc())
            self.on_unexpected(error)
        if self.context.ok():
            self.publish_changes()

    return wrapper


class ControllerNode(GuardedNode):
    """Wires one ControllerCore to the graph; every callback runs on the one executor thread."""

    def __init__(self) -> None:
        super().__init__("controller_node")
        self.config = declare_from(self, ControllerConfig)
        joints = self.config.arm_interface is ArmInterface.JOINT_TRAJECTORY
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        simulated = self.get_parameter("use_sim_time").value
        planner = TrajectoryPlanner(self.config) if joints else None
        steady = None if simulated else self._steady_ns
        self.core = ControllerCore(self.config, planner, steady, own_graph())
        self._lockstep = self.config.pacing is Pacing.STATE
        self._joints: JointState | None = None
        self._pose: PoseStamped | None = None
        self._episode_id = ""
        self._shown: SafetySnapshot | None = None

        self._applied = self.create_publisher(AppliedAction, topics.APPLIED_ACTION, qos.COMMAND)
        self._acks = self.create_publisher(ChunkAck, topics.CHUNK_ACK, qos.COMMAND)
        self._status = self.create_publisher(SafetyStatus, topics.SAFETY_STATUS, qos.LATCHED)
        self._trajectories = (
            self.create_publisher(JointTrajectory, topics.JOINT_TRAJECTORY, qos.COMMAND) if joints else None
        )
        state_qos = qos.LOCKSTEP_READER if self._lockstep else qos.STATE_READER
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, state_qos)
        self.create_subscription(PoseStamped, topics.CURRENT_POSE, self._on_pose, state_qos)
        self.create_subscription(ActionChunk, topics.ACTION_CHUNK, self._on_chunk, qos.COMMAND)
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        self.create_subscription(TwistStamped, topics.TELEOP_TWIST, self._on_twist, qos.COMMAND)
        self.create_subscription(Joy, topics.TELEOP_JOY, self._on_joy, qos.COMMAND)
        self.create_service(SetBool, topics.SET_ARMED, self._set_armed)
        self.create_service(Trigger, topics.CLEAR_FAULT, self._clear_fault)
        self.create_service(Trigger, topics.HOLD, self._hold)
        self._heartbeat = Heartbeat(self, Role.CONTROLLER)
        self._driver = ArmDriver(self, self._heartbeat, self.core, self.config) if joints else None
        if self._driver is not None:
            self.create_service(Trigger, topics.RECOVER, self._recover)
            self.create_subscription(WrenchStamped, topics.EXTERNAL_WRENCH, self._on_wrench, qos.STATE_READER)
        # Watchdogs run on a clock that cannot stop; simulated time stands still while a world waits.
        self.create_timer(WATCH_PERIOD_S, self._watch, clock=self._steady)
        self.create_timer(STATUS_PERIOD_S, self._repeat_status, clock=self._steady)
        if not self._lockstep:
            self.create_timer(self.config.control_period, self._tick, clock=self._steady)
        self._gripper = 0.0
        self._buttons: tuple[int, ...] = ()
        self.publish_changes()

    def on_unexpected(self, error: Exception) -> None:
        """Latch FAULT and stop the arm now, whoever raised."""
        with suppress(Exception):
            self.core.on_time(self._now_ns())
        self.core.internal_fault(f"{type(error).__name__}: {error}")
        with suppress(Exception):  # the trajectory that runs was checked and ends at rest by itself
            self._send_trajectory()
        self.publish_changes()

    # --- inputs -----------------------------------------------------------------------------------------------

    @guarded
    def _on_joints(self, message: JointState) -> None:
        self._joints = message
        self._on_state()

    @guarded
    def _on_pose(self, message: PoseStamped) -> None:
        self._pose = message
        self._on_state()

    def _on_state(self) -> None:
        """Pair joints and pose: of the same stamp where the world waits, else the nearest ones."""
        if self._joints is None or self._pose is None:
            return
        apart = abs(stamp_to_ns(self._joints.header.stamp) - stamp_to_ns(self._pose.header.stamp))
        if apart > (0 if self._lockstep else POSE_SLACK_NS):
            return
        state = robot_state_from_msgs(self._joints, self._pose)
        now_ns = self._now_ns()
        self.core.on_state(state, now_ns)
        if self._lockstep:
            # The next pair must be complete again; a repeated one is how the world asks once more.
            self._joints = self._pose = None
            self._auto_arm()
            self._tick()

    @guarded
    def _on_chunk(self, message: ActionChunk) -> None:
        try:
            chunk = action_chunk_from_msg(message)
        except ConversionError as error:
            self._acks.publish(unreadable_chunk_ack(message, error, max(self._now_ns(), 0)))
            raise
        # A second voice is noticed by its first chunk, not by the next look at 10 Hz.
        if (voices := self._heartbeat.living_publishers(topics.ACTION_CHUNK)) > 1:
            self.core.on_publisher_count(voices)
        ack = self.core.on_chunk(chunk, max(self._now_ns(), 0))
        self._send_trajectory()  # at once: its first knot is due soon
        if ack.result == AckResult.ACCEPTED and not self.core.chunk_loaded:
            ack = replace(ack, result=AckResult.EXPIRED, detail=self.core.status.detail)
        self._acks.publish(chunk_ack_to_msg(ack))
        if self._lockstep:
            self._tick()

    @guarded
    def _on_wrench(self, message: WrenchStamped) -> None:
        force, torque = message.wrench.force, message.wrench.torque
        self.core.on_wrench(
            math.hypot(force.x, force.y, force.z),
            math.hypot(torque.x, torque.y, torque.z),
        )
        self._send_trajectory()

    @guarded
    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        self._episode_id = episode.episode_id
        self.core.on_episode(episode)
        for ack in self.core.take_acks():
            self._acks.publish(chunk_ack_to_msg(ack))
        if self._lockstep:
            self._tick()

    @guarded
    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        twist = np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
        self.core.on_teleop(twist, self._gripper, self._now_ns())
        if self._lockstep:
            self._tick()

    @guarded
    def _on_joy(self, message: Joy) -> None:
        def pressed(index: int) -> bool:
            return index < len(message.buttons) and bool(message.buttons[index])

        deadman = pressed(self.config.deadman_button)
        if not (deadman and self.core.deadman_pressed):
            self._gripper = (
                0.0  # whoever takes over keeps what the policy grasped until a button says otherwise
            )
        if pressed(self.config.open_button):
            self._gripper = 1.0
        elif pressed(self.config.close_button):
            self._gripper = -1.0
        self.core.on_deadman(deadman, self._now_ns())
        self._send_trajectory()  # a release stops now, not at the next control step

    # --- time -------------------------------------------------------------------------------------------------

    @guarded
    def _tick(self) -> None:
        self._send()

    def _send(self) -> None:
        action = self.core.tick(self._now_ns())
        self._send_trajectory()  # first, because one that is too late is withdrawn, and then the action says so
        if action is not None:
            action = self.core.as_sent(action)
            self._applied.publish(applied_action_to_msg(action))
            if self._driver is not None and action.executed and self.core.gripper_commanded:
                self._driver.command_gripper(float(action.applied[6]))

    def _send_trajectory(self) -> None:
        trajectory = self.core.take_trajectory()
        if trajectory is None or self._trajectories is None:
            return
        late = (self._now_ns() - trajectory.start_ns) / 1e9
        if trajectory.start_ns and late > LATE_S:  # 0: whenever it arrives
            trajectory = self.core.on_late_trajectory(late, self._now_ns())
        if trajectory is not None:
            message = trajectory_to_msg(
                trajectory, self.config.robot_type.value, stamped=self.config.stamp_trajectories
            )
            self._trajectories.publish(message)

    @guarded
    def _watch(self) -> None:
        policies = self._heartbeat.living_publishers(topics.ACTION_CHUNK)
        if not self.count_publishers(topics.ACTION_CHUNK):
            self._heartbeat.forget(Role.POLICY)  # it left, and that is reported by itself
        self.core.on_publisher_count(policies)
        # A policy that lives and does not beat is somebody else's.
        silence = 0.0 if policies else self._heartbeat.silent_for(Role.POLICY)
        self.core.on_silence(silence, self._heartbeat.silent_for(Role.WORLD))
        self.core.on_wall(self._steady_ns())
        if self._driver is not None:
            self._driver.watch()
            self._send_trajectory()
        self._auto_arm()

    def _auto_arm(self) -> None:
        if self.core.auto_arm():
            self.get_logger().info(f"armed: {self.core.status.detail}")

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _steady_ns(self) -> int:
        return int(self._steady.now().nanoseconds)

    # --- services ---------------------------------------------------------------------------------------------

    def _set_armed(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.core.on_time(self._now_ns())
        response.success, response.message = self.core.arm() if request.data else self.core.disarm()
        self._send_trajectory()
        self.publish_changes()
        return response

    def _clear_fault(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.core.on_time(self._now_ns())
        response.success, response.message = self.core.clear_fault()
        self._send_trajectory()
        self.publish_changes()
        return response

    def _recover(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        assert self._driver is not None
        response.success, response.message = self._driver.recover()
        return response

    def _hold(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.core.on_time(self._now_ns())
        response.success, response.message = self.core.hold()
        self._send()
        self.publish_changes()
        return response

    def close(self) -> None:
        """Bring the arm to rest and say so: the last that is heard of a controller is that it commands nothing."""
        with suppress(Exception):  # the trajectory that runs was checked and ends at rest by itself
            self.core.on_time(self._now_ns())
            self.core.disarm()
            self.core.remark("The controller was stopped.")
            self._send_trajectory()
            self.publish_changes()
        self.destroy_node()

    # --- outputs ----------------------------------------------------------------------------------------------

    def publish_changes(self) -> None:
        """Publish SafetyStatus if anything but an age changed."""
        status = self.core.status
        shown = replace(status, state_age=0.0, last_chunk_seq=0)
        if shown != self._shown:
            self._shown = shown
            self._publish_status(status)

    def _repeat_status(self) -> None:
        self._publish_status(self.core.status)

    def _publish_status(self, status: SafetySnapshot) -> None:
        self._status.publish(safety_status_to_msg(status, self._now_ns()))


def main() -> int:
    """Run the node until it is told to stop; a bad parameter is one sentence and status 2."""
    precedence.come_first()
    without_shared_memory(os.environ)
    return run_node("controller_node", ControllerNode, close=ControllerNode.close)


if __name__ == "__main__":
    sys.exit(main())
