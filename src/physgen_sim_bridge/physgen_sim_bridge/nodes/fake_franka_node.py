# SPDX-License-Identifier: Apache-2.0
"""The fake FR3 and its two cameras behind the topics, services and actions of franka_ros2 and realsense2_camera.

Actions and services whose types are not installed (control_msgs, franka_msgs, controller_manager_msgs) are left out
with a warning; then the fingers follow AppliedAction.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, Vector3, Wrench, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.nodes import precedence, qos
from physgen_control.nodes.conversions import (
    applied_action_from_msg,
    episode_to_msg,
    robot_state_to_msgs,
    sim_state_to_msg,
    stamp_to_ns,
)
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.images import camera_info_to_msg, image_to_msg
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter
from physgen_control.types import NS_PER_S, Pose, RobotState, SimState
from physgen_msgs.msg import AppliedAction, EpisodeInfo
from physgen_msgs.msg import SimState as SimStateMsg
from physgen_msgs.srv import ResetEnv
from physgen_sim_bridge.fake_franka.episodes import Episodes, ResetRequest
from physgen_sim_bridge.fake_franka.follower import TrajectoryCommand
from physgen_sim_bridge.fake_franka.painter import FOV_Y, Painter
from physgen_sim_bridge.fake_franka.robot import FakeFranka, FaultConfig, Measured

BASE_FRAME = "base"
LAG_NS = 20_000_000
"""The cell is simulated this late, so that a command which waited in this process still takes effect when it came."""

SIM_STATE_PERIOD_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeFrankaConfig(FaultConfig):
    """Parameters of the node."""

    task: str = parameter("FrankaPick-v0", description="What lies on the table")
    seed: int = parameter(0, description="Places cube and goal before the first episode", ge=0)
    state_rate: float = parameter(
        100.0, description="Rate of joint states and poses", unit="Hz", ge=5, le=200
    )
    camera_profile: str = parameter(
        "640x480x30", description="Size and rate of both cameras, WIDTHxHEIGHTxFPS"
    )
    gripper: str = parameter(
        "auto",
        description="Who commands the fingers: the driver's actions, AppliedAction, or actions if they are installed",
        choices=("auto", "actions", "applied_action"),
    )


class FakeFrankaNode(GuardedNode):
    """Wires one FakeFranka to the graph; every callback runs on the one executor thread."""

    def __init__(self) -> None:
        super().__init__("fake_franka_node")
        self.config = declare_from(self, FakeFrankaConfig)
        width, height, fps = _profile(self.config.camera_profile)
        self.robot = FakeFranka(self.config.task, self.config, self._now_ns(), self.config.seed)
        self.episodes = Episodes(self.robot, self.config.task)
        self._painter = Painter(width, height)
        self._size = (width, height)
        self._delayed: deque[tuple[int, Callable[[], None]]] = deque()
        self._create_publishers()
        self._trajectories = self._create_trajectory_reader()
        self.create_subscription(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        self.create_service(ResetEnv, topics.RESET_ENV, self._on_reset)
        self._create_fault_services()
        self.servers = self._create_driver()
        Heartbeat(self, Role.WORLD)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / self.config.state_rate, self._advance, clock=steady)
        self.create_timer(SIM_STATE_PERIOD_S, self._publish_scene, clock=steady)
        self.create_timer(1.0 / fps, self._publish_images, clock=steady)

    def _create_publishers(self) -> None:
        self._joints = self.create_publisher(JointState, topics.JOINT_STATES, qos.SENSOR_WRITER)
        # The real broadcaster offers no more than best effort.
        self._pose = self.create_publisher(PoseStamped, topics.CURRENT_POSE, qos.STATE_READER)
        self._wrench = self.create_publisher(WrenchStamped, topics.EXTERNAL_WRENCH, qos.STATE_READER)
        self._scene = self.create_publisher(SimStateMsg, topics.SIM_STATE, qos.SENSOR_WRITER)
        self._episode = self.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        self._images = {
            name: self.create_publisher(Image, topics.image_topic(name), qos.SENSOR_WRITER)
            for name in topics.CAMERAS
        }
        self._infos = {
            name: self.create_publisher(CameraInfo, topics.camera_info_topic(name), qos.SENSOR_WRITER)
            for name in topics.CAMERAS
        }

    def _create_driver(self) -> object | None:
        """Serve the driver's actions where their types are installed.

        Raises:
            UserError: They are not installed, but the parameter `gripper` asks for them.
        """
        try:
            from physgen_sim_bridge.nodes.fake_franka_driver import FakeDriver
        except ImportError as error:
            if self.config.gripper == "actions":
                raise UserError(
                    f"gripper:=actions needs control_msgs and franka_msgs ({error}); use gripper:=applied_action."
                ) from error
            self.get_logger().warning(
                f"the driver's actions are left out, because their types are not installed ({error}); the fingers "
                "follow AppliedAction"
            )
            return None
        return FakeDriver(self, self.robot)

    def _create_fault_services(self) -> None:
        robot = self.robot
        switches: dict[str, Callable[[bool], None]] = {
            "user_stop": robot.set_user_stop,
            "block_arm": lambda on: setattr(robot.arm, "blocked", on),
            "freeze_state": lambda on: setattr(robot, "frozen", on),
            "fail_goals": lambda on: setattr(robot, "fail_goals", on),
            "drop_goals": lambda on: setattr(robot, "drop_goals", on),
        }
        for name, switch in switches.items():
            self.create_service(SetBool, f"/fake_franka/{name}", partial(self._on_switch, name, switch))
        self.create_service(Trigger, "/fake_franka/reflex", self._on_reflex)
        self.create_service(Trigger, "/fake_franka/recover", self._on_recover)

    # --- inputs -----------------------------------------------------------------------------------------------

    def _create_trajectory_reader(self) -> Subscription:
        """Return a subscription that no executor serves: `_take_trajectories` reads it in the order of time."""
        self._reader = rclpy.create_node(
            "fake_joint_trajectory_controller",
            context=self.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        return self._reader.create_subscription(
            JointTrajectory, topics.JOINT_TRAJECTORY, lambda _message: None, qos.COMMAND
        )

    def _take_trajectories(self) -> None:
        """Let each trajectory take effect when it arrived, as in a real controller, however busy this process was."""
        while True:
            with self._trajectories.handle:
                taken = self._trajectories.handle.take_message(
                    self._trajectories.msg_type, self._trajectories.raw
                )
            if taken is None:
                return
            message, info = taken
            self._on_trajectory(message, min(int(info["received_timestamp"]), self._now_ns()))

    def _on_trajectory(self, message: JointTrajectory, arrival_ns: int) -> None:
        points = message.points
        sentence = self.robot.command(
            message.joint_names,
            TrajectoryCommand(
                start_ns=stamp_to_ns(message.header.stamp),
                times=np.array([p.time_from_start.sec + p.time_from_start.nanosec / 1e9 for p in points]),
                positions=_rows([p.positions for p in points]),
                velocities=_optional([p.velocities for p in points]),
                accelerations=_optional([p.accelerations for p in points]),
            ),
            arrival_ns,
        )
        if sentence:
            self.get_logger().error(f"refused a trajectory: {sentence}", throttle_duration_sec=1.0)

    def _on_applied(self, message: AppliedAction) -> None:
        action = applied_action_from_msg(message)
        self.episodes.on_applied(action)
        by_actions = self.config.gripper == "actions" or (self.config.gripper == "auto" and self.servers)
        if action.executed and not by_actions and not self.robot.homing:
            self.robot.fingers.command(action.gripper_width, 0.1, 20.0)

    def _on_reset(self, request: ResetEnv.Request, response: ResetEnv.Response) -> ResetEnv.Response:
        try:
            response.episode_id = self.episodes.request(
                ResetRequest(
                    task=request.task or self.episodes.task, seed=request.seed, max_steps=request.max_steps
                )
            )
            response.success = True
        except UserError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_switch(
        self, name: str, switch: Callable[[bool], None], request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        switch(bool(request.data))
        response.success, response.message = True, f"{name} is {'on' if request.data else 'off'}."
        return response

    def _on_reflex(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.robot.reflex()
        response.success, response.message = True, "The arm is in a reflex; its controller is inactive."
        return response

    def _on_recover(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.robot.recover()
        response.message = self.robot.activate_hardware() or self.robot.activate()
        response.success = not response.message
        return response

    # --- outputs ----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._take_trajectories()
        self.robot.advance(self._now_ns() - LAG_NS)
        if self.robot.arm.reflex:
            self.get_logger().error(f"reflex: {self.robot.arm.reflex}", throttle_duration_sec=5.0)
        announced = self.episodes.poll(self._now_ns())
        if announced is not None:
            self._episode.publish(episode_to_msg(announced))
        if self.robot.reporting:
            self._later(partial(self._publish_state, self.robot.measure()))
        now_ns = self._now_ns()
        while self._delayed and self._delayed[0][0] <= now_ns:
            self._delayed.popleft()[1]()

    def _later(self, publish: Callable[[], None]) -> None:
        latency_ns = round(self.config.state_latency * NS_PER_S)
        if latency_ns:
            self._delayed.append((self._now_ns() + latency_ns, publish))
        else:
            publish()

    def _publish_state(self, measured: Measured) -> None:
        state = RobotState(
            stamp_ns=measured.stamp_ns,
            positions=measured.positions,
            velocities=measured.velocities,
            gripper_width=measured.gripper_width,
            tcp_pose=measured.tcp_pose,
        )
        joints, pose = robot_state_to_msgs(state, joint_prefix="fr3", frame_id=BASE_FRAME)
        self._joints.publish(joints)
        self._pose.publish(pose)
        wrench = Wrench(force=Vector3(x=self.robot.external_force()))
        self._wrench.publish(WrenchStamped(header=pose.header, wrench=wrench))

    def _publish_scene(self) -> None:
        table, measured, running = self.robot.table, self.robot.measure(), self.episodes.running
        self._scene.publish(
            sim_state_to_msg(
                SimState(
                    stamp_ns=measured.stamp_ns,
                    episode_id=running.episode_id if running else "",
                    objects={
                        "cube": Pose(position=table.cube.copy(), quaternion=table.cube_turn.copy()),
                        "goal": Pose(position=table.goal.copy(), quaternion=np.array([0.0, 0.0, 0.0, 1.0])),
                    },
                    tcp_pose=measured.tcp_pose,
                    gripper_width=measured.gripper_width,
                    success=table.success,
                    frame_id=BASE_FRAME,
                )
            )
        )

    def _publish_images(self) -> None:
        if self.robot.frozen:
            return
        measured, table = self.robot.measure(), self.robot.table
        images = self._painter.paint(
            measured.tcp_pose, measured.gripper_width, table.cube, table.cube_turn, table.goal
        )
        width, height = self._size
        for name, rgb in images.items():
            focal = height / (2.0 * np.tan(FOV_Y[name] / 2.0))
            matrix = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
            frame_id = f"camera_{name}_color_optical_frame"
            info = camera_info_to_msg(width, height, matrix, measured.stamp_ns, frame_id)
            image = image_to_msg(rgb, measured.stamp_ns, frame_id)
            self._later(partial(self._infos[name].publish, info))
            self._later(partial(self._images[name].publish, image))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _profile(text: str) -> tuple[int, int, int]:
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"camera_profile must be WIDTHxHEIGHTxFPS, as 640x480x30, got {text!r}.")
    width, height, fps = (int(part) for part in parts)
    return width, height, fps


def _rows(rows: list[object]) -> np.ndarray:
    """Return points as an array; rows of unequal length become an empty one, which the controller refuses."""
    lengths = {len(row) for row in rows}  # type: ignore[arg-type]  # sequences of the message
    return np.array(rows, np.float64) if len(lengths) == 1 else np.empty((0, 0))


def _optional(rows: list[object]) -> np.ndarray | None:
    return None if not any(len(row) for row in rows) else _rows(rows)  # type: ignore[arg-type]  # as above


def main() -> int:
    """Run the node until it is asked to stop; 2 when it cannot start."""
    precedence.come_first()
    return run_node("fake_franka_node", FakeFrankaNode)


if __name__ == "__main__":
    sys.exit(main())
