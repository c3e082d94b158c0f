# SPDX-License-Identifier: Apache-2.0
"""Records one bag per episode from raw messages; on the real arm it also starts and stops episodes.

In simulation the bridge announces episodes on /physgen/episode_info. On the real arm the services
/physgen/start_episode and /physgen/stop_episode do, and this node publishes /physgen/episode_info.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.bags.errors import BagError
from physgen_control.messages import topics
from physgen_control.messages.graph_identity import own_graph
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import episode_to_msg
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.nodes.recorder_diagnostics import recorder_diagnostics
from physgen_control.program.parameter_field import parameter
from physgen_control.recording.config import RecorderConfig
from physgen_control.recording.health import Health, HealthMonitor, promised_rates
from physgen_control.recording.pipeline import RecordingPipeline
from physgen_control.recording.recorder import EpisodeRecorder
from physgen_control.recording.status_board import RecorderStatus, StatusBoard
from physgen_control.types import Episode, EpisodePhase
from physgen_msgs.msg import EpisodeInfo
from physgen_msgs.srv import StartEpisode, StopEpisode

RAW_IMAGE = "sensor_msgs/msg/Image"
TICK_S = 0.05
HEALTH_PERIOD_S = 1.0
"""How often health is published while an episode is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderNodeConfig(RecorderConfig):
    """Parameters of the node."""

    source: str = parameter(
        "auto",
        description="Who announces episodes: the simulation, or this node's services (auto: by use_sim_time)",
        choices=("auto", "sim", "real"),
    )
    robot: str = parameter("fr3", description="Robot name in the episodes that this node starts")
    await_policy: bool = parameter(
        False, description="In a simulation: not ready before a policy is found, whose first chunks count"
    )


class RecorderNode(GuardedNode):
    """Feeds an EpisodeRecorder from raw subscriptions.

    The executor's thread receives and counts; the pipeline's thread compresses and writes.
    """

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self.config = declare_from(self, RecorderNodeConfig)
        simulated = bool(self.get_parameter("use_sim_time").value)
        self.simulated = simulated if self.config.source == "auto" else self.config.source == "sim"
        self._status = self.create_publisher(String, topics.RECORDER_STATUS, qos.LATCHED)
        self._episodes: Publisher | None = None
        self._running: Episode | None = None
        self._operator = ""
        encode = self.config.image_transport == "jpeg"
        compressed = encode or self.config.image_transport == "compressed"
        wanted = topics.recorded_topics(compressed, self.simulated, self.config.predicted)
        # Topic subscribed to -> topic recorded: the recorder's own JPEG comes from the raw images.
        self._encoded = {
            topics.image_topic(camera): topics.image_topic(camera, compressed=True)
            for camera in topics.CAMERAS
            if encode
        }
        recorded = tuple(topic for topic in wanted if self._message_class(topic) is not None)
        self._unstamped = {topic.name for topic in recorded if not topic.stamped}
        # A world that is stepped promises no rate.
        rates = {} if self.simulated else self._promised_rates(recorded)
        self._health = HealthMonitor(rates)
        self._printed_ns = self._published_ns = time.monotonic_ns()
        self._known_problems: set[str] = set()
        self._board = StatusBoard(
            RecorderStatus(state="starting", detail="Waiting for the topics."), self._publish
        )
        self.recorder = EpisodeRecorder(self.config, recorded, self._report, graph=own_graph())
        self.pipeline = RecordingPipeline(
            self.recorder,
            limit_bytes=int(self.config.queue_mb * 1e6),
            on_error=self._on_bad_message,
            jpeg_quality=self.config.jpeg_quality,
        )
        # Topics whose publisher is still awaited: a simulated episode may be over before a late match.
        source_of = {target: source for source, target in self._encoded.items()}
        self._awaited = {source_of.get(t.name, t.name) for t in recorded if t.required and self.simulated}
        if self.simulated and self.config.await_policy:
            self._awaited.add(topics.ACTION_CHUNK)
        for topic in recorded:
            self._subscribe(topic, source_of.get(topic.name, topic.name))
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, qos.COMMAND)
        self.create_service(StartEpisode, topics.START_EPISODE, self._on_start)
        self.create_service(StopEpisode, topics.STOP_EPISODE, self._on_stop)
        # A wall timer: simulated time stands still between episodes.
        self.create_timer(TICK_S, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._ready = RecorderStatus(state="ready", detail=f"Subscribed to {len(recorded)} topics.")
        if not self._awaited:
            self._report(self._ready)

    def _promised_rates(self, recorded: tuple[topics.RecordedTopic, ...]) -> dict[str, float]:
        return promised_rates(
            recorded, camera_hz=self.config.camera_rate_hz, state_hz=self.config.state_rate_hz
        )

    def _subscribe(self, topic: topics.RecordedTopic, source: str) -> None:
        kind = self._message_class(topic if source == topic.name else replace(topic, type=RAW_IMAGE))
        options: dict[str, Any] = {"raw": True}
        lost = SubscriptionEventCallbacks(
            message_lost=lambda info: self._health.on_lost(topic.name, info.total_count_change)
        )
        call = partial(self._on_raw, source)
        try:
            self.create_subscription(
                kind, source, call, self._profile(topic), event_callbacks=lost, **options
            )
        except UnsupportedEventTypeError:  # some middlewares cannot tell
            self.create_subscription(kind, source, call, self._profile(topic), **options)

    def _message_class(self, topic: topics.RecordedTopic) -> Any:
        package, _, name = topic.type.split("/")
        try:
            return getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError):
            sentence = f"{topic.type} is not installed; {topic.name} is not recorded."
            # rclpy refuses a line that logs at one level now and at another later.
            if topic.required:
                self.get_logger().warning(sentence)
            else:
                self.get_logger().debug(sentence)
            return None

    def _profile(self, topic: topics.RecordedTopic) -> QoSProfile:
        # A stepped world, which writes the clock, must lose nothing; an arm that runs by itself offers no more.
        stepped = self.get_parameter("use_sim_time").value
        best_effort = topic.best_effort and not stepped
        return QoSProfile(
            history=qos.RECORDER.history,
            depth=qos.RECORDER.depth,
            reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
        )

    def _on_raw(self, source: str, data: bytes) -> None:
        now_ns, mono_ns = self.get_clock().now().nanoseconds, time.monotonic_ns()
        topic = self._encoded.get(source, source)
        room = self.pipeline.put(topic, data, now_ns, mono_ns, encode=source in self._encoded)
        try:
            stamp_ns = now_ns if topic in self._unstamped else header_stamp_ns(data)
        except BagError:
            return  # the recorder reports it
        self._health.on_message(topic, stamp_ns, len(data), mono_ns, dropped=not room)

    def _on_tick(self) -> None:
        if self._awaited:
            self._awaited = {name for name in self._awaited if not self.count_publishers(name)}
            if not self._awaited:
                self._report(self._ready)
        now_ns = time.monotonic_ns()
        if now_ns - self._published_ns >= HEALTH_PERIOD_S * 1e9:
            self._published_ns = now_ns
            self._publish_health(now_ns)

    def _on_bad_message(self, sentence: str) -> None:
        self._report(replace(self._board.current, state="error", detail=sentence))

    def _report(self, status: RecorderStatus) -> None:
        """Log and publish a new status; called from both threads."""
        good = status.state != "error" and "Incomplete" not in status.detail
        if status.state == "recording" and self._board.current.state != "recording":
            self._health.begin(time.monotonic_ns())
            self._known_problems = set()
        self._log(status.detail, good=good)
        self._board.replace(status)

    def _log(self, sentence: str, *, good: bool) -> None:
        # Two lines: rclpy refuses one that logs at another level than before.
        if good:
            self.get_logger().info(sentence)
        else:
            self.get_logger().warning(sentence)

    def _publish(self, status: dict[str, Any]) -> None:
        # At shutdown the bag is completed after the context is gone: then the log line has to do.
        if self.context.ok():
            with suppress(RCLError):  # the context may go between the check and the call
                self._status.publish(String(data=json.dumps(status)))

    # --- health ---

    def _publish_health(self, now_ns: int) -> None:
        status = self._board.current
        # The other thread opens a bag before it says so, and says so before it closes one.
        if not self.recorder.recording or status.state == "ready":
            self._diagnose(status, None)
            return
        health = self._health.look(
            now_ns,
            bag_bytes=self.recorder.bag_bytes,
            waiting_bytes=self.pipeline.waiting_bytes,
            disk_free_bytes=_free_bytes(Path(self.config.bag_dir)),
        )
        self._board.repeat(status, health=health.to_json())
        self._diagnose(status, health)
        if self.simulated:
            return
        fresh = set(health.problems) - self._known_problems
        due = now_ns - self._printed_ns >= self.config.health_period_s * 1e9 > 0
        if due or (fresh and not self._known_problems):
            self._printed_ns = now_ns
            self._log(f"{status.episode_id}: {health.line()}", good=not health.problems)
        self._known_problems |= fresh

    def _diagnose(self, status: RecorderStatus, health: Health | None) -> None:
        message = recorder_diagnostics(status, health)
        message.header.stamp = self.get_clock().now().to_msg()
        with suppress(RCLError):
            self._diagnostics.publish(message)

    def close(self) -> None:
        """Record what is waiting and complete the open bag."""
        self.pipeline.close()

    # --- real arm ---

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        # By name: one that was killed a moment ago is still listed, and was this one.
        announcers = self.get_publishers_info_by_topic(topics.EPISODE_INFO)
        if self.simulated or any(entry.node_name != self.get_name() for entry in announcers):
            response.message = (
                "Another node announces episodes (a simulation): start them with /physgen/reset_env."
            )
            return response
        if self._running is not None:
            response.message = f"The episode {self._running.episode_id} is still running: stop it first."
            return response
        if not request.instruction.strip():
            response.message = "An episode needs an instruction."
            return response
        episode = Episode(
            episode_id=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}",
            task=request.task,
            seed=-1,
            instruction=request.instruction,
            start_ns=self.get_clock().now().nanoseconds,
            robot=self.config.robot,
            source="real",
        )
        episode = replace(episode, bag_path=str(self.recorder.bag_path(episode)))
        self._operator = request.operator_name
        self._running = episode
        self._announce(episode)
        response.success = True
        response.message = episode.bag_path
        response.episode_id = episode.episode_id
        return response

    def _on_stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        allowed = (EpisodePhase.SUCCESS, EpisodePhase.FAILURE, EpisodePhase.DISCARDED)
        if self._running is None:
            response.message = "No episode of this node is running: start one with /physgen/start_episode."
            return response
        if request.outcome not in allowed:
            names = ", ".join(f"{phase.value} {phase.name}" for phase in allowed)
            response.message = f"The outcome must be one of {names}, got {request.outcome}."
            return response
        episode = replace(self._running, phase=EpisodePhase(request.outcome))
        self._running = None
        self._announce(episode)
        response.success = True
        response.message = f"Stopped {episode.episode_id}."
        response.bag_path = episode.bag_path
        return response

    def _announce(self, episode: Episode) -> None:
        if self._episodes is None:
            self._episodes = self.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        message = episode_to_msg(episode, self._operator)
        # Recorded here at once; that it comes back over the topic changes nothing.
        self._on_raw(topics.EPISODE_INFO, serialize_message(message))
        self._episodes.publish(message)


def _close(node: RecorderNode) -> None:
    node.close()
    node.destroy_node()


def _free_bytes(folder: Path) -> int:
    """Return the free disk space at a folder, or at its first parent that exists."""
    folder = folder.expanduser().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def main() -> int:
    """Run the node until it is asked to stop; the open bag is completed."""
    return run_node("recorder_node", RecorderNode, close=_close)


if __name__ == "__main__":
    sys.exit(main())
