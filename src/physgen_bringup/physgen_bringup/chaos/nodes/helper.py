# SPDX-License-Identifier: Apache-2.0
"""A process beside the graph that plays a policy which can be killed, floods, or sends an image that is too large."""

from __future__ import annotations

import array
import sys
from typing import Any

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image

from physgen_bringup.chaos.nodes.chunks import ChunkWriter, sideways
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.lifetime import run_node
from physgen_control.types import EpisodePhase
from physgen_msgs.msg import ActionChunk, EpisodeInfo
from physgen_msgs.msg import AppliedAction as AppliedActionMsg

NAME = "chaos_helper"
PERIODS_S = {"policy": 0.3, "flood": 0.001, "image": 1.0}
HUGE = (100_000_000 // (3 * 10_000), 10_000)
"""Rows and columns of an rgb8 image of 100 MB."""


class Helper(GuardedNode):
    """Does one thing at a fixed rate until it is killed."""

    def __init__(self) -> None:
        super().__init__(NAME)
        mode = str(self.declare_parameter("mode", "policy").value)
        self._writer = ChunkWriter()
        self._step = 0
        if mode == "image":
            self._image = self.create_publisher(Image, topics.image_topic("fixed"), qos.SENSOR_WRITER)
            self._huge = _huge_image()
            act = self._send_image
        else:
            self._heartbeat = Heartbeat(self, Role.POLICY)
            self._chunks = self.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
            self.create_subscription(AppliedActionMsg, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
            self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
            act = self._send_chunk
        self.create_timer(PERIODS_S[mode], act, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_applied(self, message: Any) -> None:
        self._step = int(message.step) + 1

    def _on_episode(self, message: Any) -> None:
        self._writer.episode_id = message.episode_id if message.phase == EpisodePhase.RUNNING else ""

    def _send_chunk(self) -> None:
        sign = 1 if self._writer.sent % 2 else -1
        now_ns = int(self.get_clock().now().nanoseconds)
        self._chunks.publish(self._writer.message(sideways(0.004 * sign), now_ns, self._step))

    def _send_image(self) -> None:
        self._huge.header.stamp = self.get_clock().now().to_msg()
        self._image.publish(self._huge)


def _huge_image() -> Any:
    height, width = HUGE
    data = array.array("B", bytes(3 * width * height))
    return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)


def main() -> int:
    """Run until told to stop, or killed."""
    return run_node(NAME, Helper)


if __name__ == "__main__":
    sys.exit(main())
