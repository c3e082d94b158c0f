# SPDX-License-Identifier: Apache-2.0
"""Heartbeats between policy, controller and world: four beats a second, and who misses them for a second is silent.

DDS lists a killed process for its lease of twenty seconds. A shorter lease is no cure: a process that stood still for
longer is forgotten, and is not always found again when it goes on. A beat comes from the same executor thread as
everything else that a node says, so that it stops when the node does. It carries the participant of its process, by
which a publisher that only DDS still lists is told from one that lives.
"""

from __future__ import annotations

import time
import uuid
from enum import StrEnum

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from std_msgs.msg import String

from physgen_control.messages import topics

PERIOD_S = 0.25
TIMEOUT_S = 1.0
_MOST_PARTICIPANTS = 64
BEATS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


class Role(StrEnum):
    """What a process that beats is in the graph."""

    POLICY = "policy"
    CONTROLLER = "controller"
    WORLD = "world"


class Heartbeat:
    """Beats for a node and listens to the others; used from the node's executor thread."""

    def __init__(self, node: Node, role: Role) -> None:
        self._node = node
        self._role = role
        self._participant = participant_of(node)
        self._heard_s: dict[str, float] = {}
        self._beats_s: dict[str, float] = {}
        self._publisher = node.create_publisher(String, topics.HEARTBEAT, BEATS)
        node.create_subscription(String, topics.HEARTBEAT, self._on_beat, BEATS)
        # Steady, because a silent node shows although simulated time stands still.
        node.create_timer(PERIOD_S, self._beat, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def silent_for(self, role: Role) -> float:
        """Return for how long a role that was heard once has been silent [s]; 0 while it beats, or never did."""
        heard_s = self._heard_s.get(role)
        if heard_s is None:
            return 0.0
        silence = time.monotonic() - heard_s
        return silence if silence > TIMEOUT_S else 0.0

    def forget(self, role: Role) -> None:
        """Miss a role no more: it left in order."""
        self._heard_s.pop(role, None)

    @property
    def participants(self) -> frozenset[str]:
        """The participants of DDS that beat, this one included."""
        now_s = time.monotonic()
        return frozenset(one for one, heard_s in self._beats_s.items() if now_s - heard_s <= TIMEOUT_S)

    def living_publishers(self, topic: str) -> int:
        """Return how many publishers of a topic live: those of processes whose beats have stopped are not counted."""
        listed = [_participant(entry) for entry in self._node.get_publishers_info_by_topic(topic)]
        dead = self._beats_s.keys() - self.participants
        return sum(one not in dead for one in listed)

    def _beat(self) -> None:
        self._publisher.publish(String(data=f"{self._role.value} {self._participant}"))

    def _on_beat(self, message: String) -> None:
        role, _, participant = message.data.partition(" ")
        now_s = time.monotonic()
        if role != self._role:
            self._heard_s[role] = now_s
        if participant:
            self._beats_s[participant] = now_s
            if len(self._beats_s) > _MOST_PARTICIPANTS:
                del self._beats_s[min(self._beats_s, key=self._beats_s.__getitem__)]


def participant_of(node: Node) -> str:
    """Return the participant of this process, read off a publisher whose name nobody else has."""
    topic = f"{topics.HEARTBEAT}/participant_{uuid.uuid4().hex}"
    publisher = node.create_publisher(String, topic, BEATS)
    try:
        listed = node.get_publishers_info_by_topic(topic)
        return _participant(listed[0]) if listed else ""
    finally:
        node.destroy_publisher(publisher)


def _participant(endpoint: TopicEndpointInfo) -> str:
    """Return the first twelve bytes of an endpoint's id: the participant in DDS, nothing of meaning elsewhere."""
    return bytes(endpoint.endpoint_gid[:12]).hex()
