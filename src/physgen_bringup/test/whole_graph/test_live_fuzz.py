# SPDX-License-Identifier: Apache-2.0
"""Random messages on every topic of running graphs: nobody ends or is surprised, and the controller still obeys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from physgen_bringup.graph.spec import Graph

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from arm_probe import ArmProbe, sideways
from graph_probe import GraphProbe
from message_fuzz import message_class, random_message
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from running_processes import children
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.types import AckResult, EpisodePhase, Fault, SafetyState
from physgen_msgs.msg import EpisodeInfo

pytestmark = [pytest.mark.ros, pytest.mark.realtime]

# Offered to every kind of reader: reliable, and kept for those who ask for that.
EVERY_READER = QoSProfile(
    depth=20, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# The parameter services and logs of ROS itself.
NOT_OURS = ("/rosout", "/parameter_events")
BURST = 10
SMALL_CAMERA = "camera_profile:=32x32x5"
GRAPHS = {
    "arm": ("task:=FrankaPick-v0", "policy:=none", "teleop:=joy", SMALL_CAMERA),
    "world": ("policy:=expert", "episodes:=1000", "max_steps:=40"),
    "policy": ("task:=FrankaPush-v0", "episodes:=1000", SMALL_CAMERA),
}


def graph_of(tmp_path: Path, name: str) -> Graph:
    words = ["sim:=fake", "record:=true", f"output_dir:={tmp_path}", *GRAPHS[name]]
    if name == "policy":
        checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint", robot="fr3", tasks=("FrankaPush-v0",))
        words.append(f"checkpoint:={checkpoint}")
    graph = build_graph(check_arguments(parse_arguments(words)))
    nodes = list(graph.nodes)
    if name == "arm":  # the other devices too, which only listen until somebody holds their deadman
        for device in ("spacemouse", "gello"):
            other = [*words[:-2], f"teleop:={device}", SMALL_CAMERA]
            nodes.append(build_graph(check_arguments(parse_arguments(other))).node(f"{device}_teleop_node"))
    nodes = [replace(node, required=False) for node in nodes]
    graph = replace(graph, nodes=tuple(nodes), ends_with=None)
    if name != "world":
        graph = graph.with_parameters("fake_franka_node", state_rate=40.0)
    return graph


class Fuzzer:
    """Publishes on every topic that a node of the graph reads; remembers good messages to change."""

    def __init__(self, probe: GraphProbe, random: Random) -> None:
        self.probe, self.random = probe, random
        self.publishers: dict[str, Any] = {}
        self.readers: list[Any] = []
        self.good: dict[str, Any] = {}
        self.sent: dict[str, int] = {}
        own = probe.node.get_name()
        for topic, [kind, *_] in probe.node.get_topic_names_and_types():
            reads = [i for i in probe.node.get_subscriptions_info_by_topic(topic) if i.node_name != own]
            if not reads or topic in NOT_OURS:
                continue
            self.publishers[topic] = probe.node.create_publisher(message_class(kind), topic, EVERY_READER)
            volatile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            self.readers.append(
                probe.node.create_subscription(message_class(kind), topic, self._keep(topic), volatile)
            )

    def _keep(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            self.good.setdefault(topic, message)

        return keep

    def send(self, count: int) -> Iterator[str]:
        topics = sorted(self.publishers)
        for number in range(count):
            topic = topics[number % len(topics)]
            publisher = self.publishers[topic]
            message = random_message(publisher.msg_type, self.random, self.good.get(topic))
            publisher.publish(message)
            self.sent[topic] = self.sent.get(topic, 0) + 1
            if number % BURST == BURST - 1:
                end = time.monotonic() + 0.03
                while time.monotonic() < end:
                    self.probe.executor.spin_once(timeout_sec=0.005)
            yield topic

    def close(self) -> None:
        for publisher in self.publishers.values():
            self.probe.node.destroy_publisher(publisher)
        for reader in self.readers:
            self.probe.node.destroy_subscription(reader)


@contextmanager
def running(tmp_path: Path, name: str) -> Iterator[tuple[Graph, LocalRunner, GraphProbe, int]]:
    graph = graph_of(tmp_path, name)
    lines: list[str] = []
    with PrivateDomain() as domain, GraphProbe(domain) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lines.append)
        try:
            runner.start()
            yield graph, runner, probe, domain
        finally:
            runner.stop()
    assert children() == []


def tracebacks(tmp_path: Path) -> list[str]:
    """What the nodes' logs say of exceptions that nobody expected, the first of each kind."""
    found: dict[str, None] = {}
    for log in sorted((tmp_path / "logs").glob("*.log")):
        text = log.read_text(errors="replace")
        for part in text.split("Traceback (most recent call last)")[1:]:
            lines = [line for line in part.splitlines()[1:40] if line.strip()]
            last = next((line for line in lines if not line.startswith(" ")), lines[-1])
            place = [line.strip() for line in lines if line.strip().startswith("File") and "physgen_" in line]
            found.setdefault(f"{log.stem}: {last[:300]} {place[-1:]}", None)
    return list(found)


def fuzz(tmp_path: Path, name: str, count: int, seed: int) -> None:
    with running(tmp_path, name) as (graph, runner, probe, domain):
        names = [node.name for node in graph.nodes]
        probe.wait_for(lambda: probe.safety, "the controller", 60.0)
        probe.wait_for(lambda: probe.node.count_publishers("/physgen/recorder_status"), "the recorder")
        if name != "arm":
            probe.wait_for(lambda: probe.applied, "a moving policy", 90.0)
        fuzzer = Fuzzer(probe, Random(seed))
        probe.wait_for(lambda: len(fuzzer.good) >= min(4, len(fuzzer.publishers)), "good messages")
        for number, topic in enumerate(fuzzer.send(count)):
            dead = [node for node in names if not runner.alive(node)] if number % BURST == 0 else []
            assert not dead, (
                f"{dead} ended near {topic}: {runner.last_lines(dead[0])}; {tracebacks(tmp_path)}"
            )
        fuzzer.close()
        before = len(probe.safety)
        probe.wait_for(lambda: len(probe.safety) > before + 3, "safety statuses", 20.0)
        # One that hears none of what was said before.
        with ArmProbe(domain) as operator:
            assert operator.trigger("/physgen/hold").success
            operator.wait_for(lambda: operator.safety and operator.state != SafetyState.ARMED, "a hold", 20.0)
            if name == "arm":
                good_chunk(operator)
        assert [node for node in names if not runner.alive(node)] == []
        assert tracebacks(tmp_path) == []
    assert min(fuzzer.sent.values()) >= count // len(fuzzer.sent)


def good_chunk(probe: ArmProbe) -> None:
    """Armed again, the arm moves as told."""

    def armed() -> bool:
        if probe.state == SafetyState.FAULT:
            probe.trigger("/physgen/clear_fault")
        if probe.faults & (Fault.TRACKING | Fault.WRENCH | Fault.ROBOT_MODE | Fault.STATE_STALE):
            probe.trigger("/fake_franka/recover")
        return probe.arm().success

    probe.wait_for(armed, "arming", 60.0)
    episodes = probe.node.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
    episodes.publish(EpisodeInfo(episode_id="good", phase=int(EpisodePhase.RUNNING), task="FrankaPick-v0"))

    def accepted() -> bool:
        if any(ack.result == AckResult.ACCEPTED for ack in probe.acks):
            return True
        if len(probe.acks) == probe.sent:
            probe.send(sideways(0.002), episode_id="good")
        return False

    probe.wait_for(accepted, "an accepted chunk", 60.0)


@pytest.mark.parametrize("name", ["arm"])
def test_some_random_messages(tmp_path, name):
    fuzz(tmp_path, name, 400, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "count"), [("arm", 8000), ("world", 6000), ("policy", 6000)])
def test_many_random_messages(tmp_path, name, count):
    fuzz(tmp_path, name, count, seed=1)
