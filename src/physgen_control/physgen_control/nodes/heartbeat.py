# SPDX-License-Identifier: Apache-2.0
"""Heartbeats between policy, controller and world: four beats a second, and who misses them for a second is silent.

DDS forgets a killed process after its lease of two seconds, and a process that hangs never. A beat comes from the same
executor thread as everything else that a node says, so that it stops when the node does.
"""

from __future__ import annotations

import time
from enum import StrEnum

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

TOPIC = "/physgen/heartbeat"
PERIOD_S = 0.25
TIMEOUT_S = 1.0
_BEATS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


class Role(StrEnum):
    """Who beats."""

    POLICY = "policy"
    CONTROLLER = "controller"
    WORLD = "world"


class Heartbeat:
    """Beats for a node and listens to the others; used from the node's executor thread."""

    def __init__(self, node: Node, role: Role) -> None:
        self._role = role
        self._heard_s: dict[str, float] = {}
        self._publisher = node.create_publisher(String, TOPIC, _BEATS)
        node.create_subscription(String, TOPIC, self._on_beat, _BEATS)
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
        """The role left in order: it is not missed."""
        self._heard_s.pop(role, None)

    def _beat(self) -> None:
        self._publisher.publish(String(data=self._role.value))

    def _on_beat(self, message: String) -> None:
        if message.data != self._role:
            self._heard_s[message.data] = time.monotonic()
