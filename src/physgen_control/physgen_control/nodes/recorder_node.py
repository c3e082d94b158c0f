# SPDX-License-Identifier: Apache-2.0
"""Records one bag per episode from raw messages; on the real arm it also starts and stops episodes.

In simulation the bridge announces episodes on /physgen/episode_info. On the real arm the services
/physgen/start_episode and /physgen/stop_episode do, and this node publishes /physgen/episode_info.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from physgen_control.bags import topics
from physgen_control.bags.recorder import EpisodeRecorder, RecorderConfig, RecorderStatus
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import episode_to_msg
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.parameter_field import parameter
from physgen_control.types import Episode, EpisodePhase
from physgen_msgs.msg import EpisodeInfo
from physgen_msgs.srv import StartEpisode, StopEpisode

STATUS_TOPIC = "/physgen/recorder_status"
TICK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderNodeConfig(RecorderConfig):
    """Parameters of the node."""

    source: str = parameter(
        "auto",
        description="Who announces episodes: the simulation, or this node's services (auto: by use_sim_time)",
        choices=("auto", "sim", "real"),
    )
    robot: str = parameter("fr3", description="Robot name in the episodes that this node starts")


class RecorderNode(Node):
    """Feeds an EpisodeRecorder from raw subscriptions."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self.config = declare_from(self, RecorderNodeConfig)
        simulated = bool(self.get_parameter("use_sim_time").value)
        self.simulated = simulated if self.config.source == "auto" else self.config.source == "sim"
        self._status = self.create_publisher(String, STATUS_TOPIC, qos.LATCHED)
        self._episodes: Publisher | None = None
        self._running: Episode | None = None
        self._operator = ""
        compressed = self.config.image_transport == "compressed"
        wanted = topics.recorded_topics(compressed, self.simulated, self.config.predicted)
        classes = {topic.name: self._message_class(topic.type) for topic in wanted}
        recorded = tuple(topic for topic in wanted if classes[topic.name] is not None)
        self.recorder = EpisodeRecorder(self.config, recorded, self._report)
        # Topics whose publisher is still awaited: a simulated episode may be over before a late match.
        self._awaited = {topic.name for topic in recorded if topic.required and self.simulated}
        for topic in recorded:
            self.create_subscription(
                classes[topic.name],
                topic.name,
                partial(self._on_raw, topic.name),
                self._profile(topic),
                raw=True,
            )
        self.create_service(StartEpisode, "/physgen/start_episode", self._on_start)
        self.create_service(StopEpisode, "/physgen/stop_episode", self._on_stop)
        # A wall timer: simulated time stands still between episodes.
        self.create_timer(TICK_S, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._ready = RecorderStatus(state="ready", detail=f"Subscribed to {len(recorded)} topics.")
        if not self._awaited:
            self._report(self._ready)

    def _message_class(self, message_type: str) -> Any:
        package, _, name = message_type.split("/")
        try:
            return getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError):
            self.get_logger().warning(f"{message_type} is not installed; its topics are not recorded.")
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

    def _on_raw(self, topic: str, data: bytes) -> None:
        self.recorder.on_message(topic, data, self.get_clock().now().nanoseconds, time.monotonic_ns())

    def _on_tick(self) -> None:
        self.recorder.on_time(time.monotonic_ns())
        if self._awaited:
            self._awaited = {name for name in self._awaited if not self.count_publishers(name)}
            if not self._awaited:
                self._report(self._ready)

    def _report(self, status: RecorderStatus) -> None:
        good = status.state != "error" and "Incomplete" not in status.detail
        log = self.get_logger()
        if good:
            log.info(status.detail)
        else:
            log.warning(status.detail)
        # At shutdown the bag is completed after the context is gone: then the log line has to do.
        if self.context.ok():
            with suppress(RCLError):  # the context may go between the check and the call
                self._status.publish(String(data=json.dumps(asdict(status))))

    # --- real arm ---

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        own = 0 if self._episodes is None else 1
        if self.simulated or self.count_publishers(topics.EPISODE_INFO) > own:
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
    node.recorder.close()
    node.destroy_node()


def main() -> int:
    """Run the node until it is asked to stop; the open bag is completed."""
    return run_node("recorder_node", RecorderNode, close=_close)


if __name__ == "__main__":
    sys.exit(main())
