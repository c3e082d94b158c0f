# SPDX-License-Identifier: Apache-2.0
"""A simulated arm and its cameras behind the topics of the real ones; the world steps in its own thread and process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy._rclpy_pybind11 import RCLError
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    ConversionError,
    applied_action_from_msg,
    episode_to_msg,
    ns_to_stamp,
    robot_state_to_msgs,
    sim_state_to_msg,
)
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.images import camera_info_to_msg, image_to_msg
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter
from physgen_control.types import Episode
from physgen_msgs.msg import AppliedAction, EpisodeInfo
from physgen_msgs.msg import SimState as SimStateMsg
from physgen_msgs.srv import ResetEnv
from physgen_sim_bridge.bridge.episode_loop import EpisodeLoop, LoopConfig
from physgen_sim_bridge.perturbation.condition import parse_condition
from physgen_sim_bridge.perturbation.perturbed_world import perturbed
from physgen_sim_bridge.registry import check_task, instructions, make_world
from physgen_sim_bridge.world import Observation, World, WorldCrashed, WorldSpec

BASE_FRAME = "base"
OPTICAL_FRAME = "camera_{}_color_optical_frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """Parameters of the node."""

    sim: str = parameter("fake", description="Simulator name")
    task: str = parameter("FakePush-v0", description="Environment id")
    image_size: int = parameter(128, description="Edge of both square images", unit="px", ge=16, le=1024)
    perturb: str = parameter("", description="What to change of the world, such as camera:3; empty: nothing")
    render: bool = parameter(True, description="Draw the images; without, they are black and steps are fast")
    pace: str = parameter("lockstep", description="Pace of the world", choices=("lockstep", "realtime"))
    republish_s: float = parameter(
        2.0, description="Repeat an unanswered observation after this wall time", unit="s", ge=0.05
    )
    lockstep_timeout_s: float = parameter(
        60.0, description="An observation unanswered for this wall time crashes the episode", unit="s", ge=0.1
    )


class BridgeNode(GuardedNode):
    """Sink of an EpisodeLoop: turns values into messages, and the reset service into requests."""

    def __init__(self) -> None:
        super().__init__("bridge_node")
        self.config = declare_from(self, BridgeConfig)
        check_task(self.config.sim, self.config.task, self.config.image_size)
        # The world first: a simulator that cannot start must not leave a graph that looks alive.
        world = self._make_world(self.config.task)
        clock_qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._clock_out = self.create_publisher(Clock, topics.CLOCK, clock_qos)
        self._joints = self.create_publisher(JointState, topics.JOINT_STATES, qos.SENSOR_WRITER)
        self._pose = self.create_publisher(PoseStamped, topics.CURRENT_POSE, qos.SENSOR_WRITER)
        self._sim_state = self.create_publisher(SimStateMsg, topics.SIM_STATE, qos.SENSOR_WRITER)
        self._infos: dict[str, Publisher] = {}
        self._images: dict[str, Publisher] = {}
        for name in ("wrist", "fixed"):
            self._infos[name] = self.create_publisher(
                CameraInfo, topics.camera_info_topic(name), qos.SENSOR_WRITER
            )
            self._images[name] = self.create_publisher(Image, topics.image_topic(name), qos.SENSOR_WRITER)
        self._episode = self.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        self.create_subscription(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        self.loop = EpisodeLoop(
            self._make_world,
            world,
            self,
            LoopConfig(
                pace="realtime" if self.config.pace == "realtime" else "lockstep",
                republish_s=self.config.republish_s,
                lockstep_timeout_s=self.config.lockstep_timeout_s,
            ),
        )
        self.create_service(ResetEnv, topics.RESET_ENV, self._on_reset)
        Heartbeat(self, Role.WORLD)
        self.loop.start()

    def _make_world(self, task: str) -> World:
        config = self.config
        world = make_world(
            config.sim, task, image_size=config.image_size, render=config.render, in_worker=True
        )
        if not config.perturb:
            return world
        return perturbed(world, parse_condition(config.perturb), instructions(config.sim, task))

    def _on_reset(self, request: ResetEnv.Request, response: ResetEnv.Response) -> ResetEnv.Response:
        task = request.task or self.loop.task
        try:
            check_task(self.config.sim, task, self.config.image_size)
            if request.seed < 0:
                raise UserError(f"A seed must not be negative, but it is {request.seed}.")
        except UserError as error:
            response.success, response.message = False, str(error)
            return response
        response.episode_id = self.loop.request(
            task=task, seed=request.seed, init_state=request.init_state, max_steps=request.max_steps
        )
        response.success = True
        return response

    def _on_applied(self, message: AppliedAction) -> None:
        try:
            action = applied_action_from_msg(message)
        except ConversionError as error:
            self.get_logger().error(f"Ignored an applied action: {error}")
            return
        self.loop.mailbox.offer(action)

    # Sink of the loop: called in the world's thread; rclpy publishers may be used from any thread.

    def clock(self, now_ns: int) -> None:
        """Publish the simulated time [ns] on /clock."""
        self._send(self._clock_out, Clock(clock=ns_to_stamp(now_ns)))

    def episode(self, episode: Episode) -> None:
        """Publish the episode's phase."""
        self._send(self._episode, episode_to_msg(episode))

    def observation(self, observation: Observation, stamp_ns: int, episode_id: str, spec: WorldSpec) -> None:
        """Publish one observation: state first, the images last, because they make readers act."""
        prefix = spec.joint_names[0].removesuffix("_joint1")
        robot = observation.robot_state(stamp_ns)
        joints, pose = robot_state_to_msgs(robot, joint_prefix=prefix, frame_id=BASE_FRAME)
        self._send(self._joints, joints)
        self._send(self._pose, pose)
        self._send(self._sim_state, sim_state_to_msg(observation.sim_state(stamp_ns, episode_id)))
        for camera in (spec.wrist_camera, spec.fixed_camera):
            height, width = camera.image_size
            matrix = np.array(camera.matrix()).reshape(3, 3)
            frame_id = OPTICAL_FRAME.format(camera.name)
            self._send(
                self._infos[camera.name], camera_info_to_msg(width, height, matrix, stamp_ns, frame_id)
            )
        for name, rgb in (("wrist", observation.rgb_wrist), ("fixed", observation.rgb_fixed)):
            self._send(self._images[name], image_to_msg(rgb, stamp_ns, OPTICAL_FRAME.format(name)))

    def _send(self, publisher: Publisher, message: Any) -> None:
        """Publish, unless the node is being stopped: the world's thread learns of it a moment later.

        Raises:
            RCLError: The message could not be published although the node runs.
        """
        try:
            publisher.publish(message)
        except RCLError:
            if self.context.ok():
                raise


def _close(node: BridgeNode) -> None:
    node.loop.stop()
    node.destroy_node()


def main() -> int:
    """Run the node until it is asked to stop; 2 when it cannot start."""
    return run_node("bridge_node", BridgeNode, close=_close, refusals=(UserError, WorldCrashed))


if __name__ == "__main__":
    sys.exit(main())
