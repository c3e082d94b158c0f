# SPDX-License-Identifier: Apache-2.0
"""The policy as a ROS node: messages in and out of a PolicySession. It decides nothing itself.

Configure loads and warms up, activate connects and starts the inference thread. Callbacks only convert and
hand over.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    ConversionError,
    action_chunk_to_msg,
    applied_action_from_msg,
    episode_from_msg,
    make_header,
    robot_state_from_msgs,
    stamp_to_ns,
)
from physgen_control.nodes.guarded_node import Guarded
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.images import image_from_msg, image_to_msg
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.nodes.stop_signals import StopSignals
from physgen_control.types import ActionChunk, CameraFrame, UInt8Image
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction, EpisodeInfo, PolicyStatus
from physgen_msgs.srv import SetInstruction
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.nodes.image_pairs import ImagePairs, uses_message_filters
from physgen_policy.nodes.policy_parameters import PolicyNodeConfig
from physgen_policy.nodes.policy_status import status_message
from physgen_policy.nodes.prediction_watch import PredictionWatch
from physgen_policy.runtime.camera_check import CAMERA, CameraCheck, read_picture
from physgen_policy.runtime.loading import load_policy
from physgen_policy.runtime.own_policy import OwnPolicyRunner
from physgen_policy.runtime.served_policy import ServedPolicy
from physgen_policy.runtime.session import THREAD_DIED, PolicySession, SessionEvents

CAMERAS = {name: topics.image_topic(name) for name in topics.CAMERAS}
ValueT = TypeVar("ValueT")
_STATE_SLACK_NS = 50_000_000  # between joints and pose of one measured state
_CONNECTION_PERIOD = 0.25  # s of wall time between looks at the graph


class PolicyNode(Guarded, LifecycleNode):
    """Lifecycle node around a policy; `failure` is the sentence that ended it, if any."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self.config = declare_from(self, PolicyNodeConfig)
        self.failure = ""
        self.stopped: Future = Future()
        self._graph = GraphDescription(
            control_period=self.config.control_period,
            cameras=tuple(CAMERAS),
            task=self.config.task,
            robot=self.config.robot,
        )
        self._gate = self.config.gate()
        self._policy: ServedPolicy | None = None
        self._joints: JointState | None = None
        self._pose: PoseStamped | None = None
        self._session: PolicySession | None = None
        self._pairs: ImagePairs | None = None
        self._episode_start_ns = 0
        self._missing = ["configuration"]
        self._alive = True
        self._checked: set[str] = set()
        self._camera: CameraCheck | None = None
        self._connections: list[tuple[Any, Any]] = []  # (what, how to destroy it)
        self._heartbeat = Heartbeat(self, Role.POLICY)
        self._status_publisher = self.create_publisher(PolicyStatus, topics.POLICY_STATUS, qos.LATCHED)
        self._chunk_publisher = self.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
        self._image_publisher = self.create_publisher(Image, topics.PREDICTED_IMAGE, qos.SENSOR_WRITER)
        self._watch = PredictionWatch(self, self.config.prediction_error_limit)

    # ---- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up; a checkpoint that does not fit is refused with one sentence in `failure`."""
        self.failure = ""
        config = self.config
        try:
            self._pairs = self._image_pairs()
            if config.camera_reference:
                reference = read_picture(Path(config.camera_reference).expanduser())
                self._camera = CameraCheck(reference, config.camera_limit)
            policy = self._load()
            policy.warm_up(imagine=config.imagines)
        except UserError as error:
            self.failure = str(error)
            if not config.autostart:
                self.get_logger().error(self.failure)
            return TransitionCallbackReturn.FAILURE
        self._policy = policy
        self.get_logger().info(f"{policy.policy_id} is loaded and warm")
        return TransitionCallbackReturn.SUCCESS

    def _load(self) -> ServedPolicy:
        config = self.config
        if not config.policy:
            return load_policy(config.checkpoint, self._graph, config.network(), config.device)
        own = OwnPolicyRunner.load(config.policy, round(config.control_period * 1e9), config.checkpoint)
        self._gate = replace(self._gate, execute_steps=own.execute_steps)
        return own

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the inference thread and connect to the graph."""
        assert self._policy is not None
        events = SessionEvents(
            chunk=self._publish_chunk,
            frame=self._publish_frame,
            failure=self._report_failure,
            changed=self._publish_status,
            wants_frame=self._wants_frame,
        )
        self._session = PolicySession(self._policy, self._gate, tuple(CAMERAS), events, self._now_ns)
        self._alive = True
        reader = qos.LOCKSTEP_READER if self.config.lockstep else qos.SENSOR_READER
        on_image = self._on_image if self._pairs is None else self._pairs.put
        for name, topic in CAMERAS.items():
            self._subscribe(Image, topic, partial(on_image, name), reader)
        if self._policy.needs_state:
            self._subscribe(JointState, topics.JOINT_STATES, self._on_joints, reader)
            self._subscribe(PoseStamped, topics.CURRENT_POSE, self._on_pose, reader)
        self._subscribe(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        self._subscribe(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        service = self.create_service(SetInstruction, topics.SET_INSTRUCTION, self._on_set_instruction)
        self._connections.append((service, self.destroy_service))
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        for period, callback in (
            (_CONNECTION_PERIOD, self._check_connections),
            (self.config.control_period, self._session.poll),
        ):
            self._connections.append((self.create_timer(period, callback, clock=steady), self.destroy_timer))
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the inference thread, then disconnect."""
        self._disconnect()
        self._publish_status()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the checkpoint."""
        self._policy = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._disconnect()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the inference thread and release everything."""
        self._disconnect()
        self.destroy_node()

    def _subscribe(self, kind: Any, topic: str, callback: Any, profile: Any) -> None:
        subscription = self.create_subscription(kind, topic, callback, profile)
        self._connections.append((subscription, self.destroy_subscription))

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.close()
        for connection, destroy in self._connections:
            destroy(connection)
        self._connections.clear()
        self._session, self._missing = None, ["activation"]

    def _image_pairs(self) -> ImagePairs | None:
        """Return the synchronizer of message_filters; None where images go to the session one by one."""
        config = self.config
        if not uses_message_filters(config.synchronizer):
            return None
        return ImagePairs(
            tuple(CAMERAS), slop_s=config.sync_slop, queue_size=config.sync_queue, on_image=self._on_image
        )

    # ---- in

    def _on_image(self, stream: str, message: Image) -> None:
        frame = self._read(image_from_msg, message, f"{stream} camera: ")
        if frame is None or self._session is None:
            return
        if stream in self._checked or self._fits(stream, frame):
            self._session.put_frame(stream, frame)

    def _on_joints(self, message: JointState) -> None:
        self._joints = message
        self._on_state()

    def _on_pose(self, message: PoseStamped) -> None:
        self._pose = message
        self._on_state()

    def _on_state(self) -> None:
        """Hand over joints and pose that belong together: of one stamp where the world waits, else near ones."""
        joints, pose = self._joints, self._pose
        if joints is None or pose is None:
            return
        apart = abs(stamp_to_ns(joints.header.stamp) - stamp_to_ns(pose.header.stamp))
        if apart > (0 if self.config.lockstep else _STATE_SLACK_NS):
            return
        state = self._read(lambda both: robot_state_from_msgs(*both), (joints, pose))
        if state is not None and self._policy is not None:
            self._policy.put_state(state)

    def _on_applied(self, message: AppliedAction) -> None:
        action = self._read(applied_action_from_msg, message)
        if action is not None and self._session is not None:
            self._session.put_action(action)

    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = self._read(episode_from_msg, message)
        if episode is None or self._session is None:
            return
        if self._pairs is not None and episode.start_ns < self._episode_start_ns:
            self._pairs.restart()
        self._episode_start_ns = episode.start_ns
        self._session.put_episode(episode)

    def _read(self, convert: Callable[[Any], ValueT], message: Any, who: str = "") -> ValueT | None:
        """Return the message's value, or None after a complaint."""
        try:
            return convert(message)
        except ConversionError as error:
            sentence = f"{who}{error}"
            self.get_logger().error(sentence, throttle_duration_sec=5.0)
            if self._session is not None:
                self._session.set_detail(sentence)
            return None

    def _on_set_instruction(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        text = request.instruction.strip()
        response.success = bool(text) and self._session is not None
        if response.success and self._session is not None:
            self._session.set_instruction(text)
            response.message = "used from the next chunk on"
        else:
            response.message = "the instruction is empty; send a sentence"
        return response

    def _fits(self, stream: str, frame: CameraFrame) -> bool:
        assert self._policy is not None
        height, width = frame.rgb.shape[:2]
        graph = replace(self._graph, image_height=height, image_width=width)
        found = self._policy.mismatches(graph)
        if found:
            self.failure = f"the checkpoint cannot be used with the {stream} camera: {'; '.join(found)}"
        elif stream == CAMERA and self._camera is not None:
            self.failure = self._camera.complaint(frame.rgb)
        if self.failure:
            if not self.stopped.done():
                self.stopped.set_result(None)
            return False
        self._checked.add(stream)
        return True

    # ---- out (the inference thread calls these too)

    def _publish_chunk(self, chunk: ActionChunk) -> None:
        self._chunk_publisher.publish(action_chunk_to_msg(chunk))

    def _publish_frame(self, image: UInt8Image, stamp_ns: int) -> None:
        # Stamped like the observation it was imagined from, so that viewers can pair the two.
        self._image_publisher.publish(image_to_msg(image, stamp_ns, "camera_predicted"))
        policy, session = self._policy, self._session
        if policy is not None and session is not None:
            surprise = self._watch.seen(policy.prediction_errors, stamp_ns, session.status.session_id)
            if surprise:
                self.get_logger().error(surprise)
                session.set_detail(surprise)

    def _wants_frame(self) -> bool:
        return self.config.imagines or self._image_publisher.get_subscription_count() > 0

    def _report_failure(self, error: Exception) -> None:
        self.get_logger().error("inference failed:\n" + "".join(traceback.format_exception(error)))

    def _check_connections(self) -> None:
        self._watch.poll()
        missing = [
            f"the {name} camera" for name, topic in CAMERAS.items() if not self.count_publishers(topic)
        ]
        if not self._chunk_publisher.get_subscription_count():
            missing.append("the controller")
        elif silence := self._heartbeat.silent_for(Role.CONTROLLER):
            missing.append(f"the controller (silent for {silence:.0f} s)")
        alive = self._session is None or self._session.alive
        if self._alive and not alive:
            self.get_logger().error(THREAD_DIED)
        if missing != self._missing or alive != self._alive:
            self._missing, self._alive = missing, alive
            self._publish_status()

    def _publish_status(self) -> None:
        message = status_message(self._policy, self._session, self._missing)
        if self._session is not None and not self._session.alive:
            message.ready, message.detail = False, THREAD_DIED
        message.header = make_header(self._now_ns(), "")
        self._status_publisher.publish(message)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _spin(node: PolicyNode, signals: StopSignals) -> None:
    if node.config.autostart and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
    if not node.failure:
        signals.spin(node, until=node.stopped)
    if node.failure:
        raise UserError(node.failure)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; 2 with one sentence on stderr when it cannot work here."""
    return run_node("policy_node", PolicyNode, spin=_spin, close=PolicyNode.close, args=args)


if __name__ == "__main__":
    sys.exit(main())
