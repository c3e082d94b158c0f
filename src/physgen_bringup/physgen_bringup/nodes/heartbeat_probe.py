# SPDX-License-Identifier: Apache-2.0
"""Whether a graph of ours answers in a DDS domain: `python -m ... DOMAIN` ends with HEARD_STATUS if one does."""

from __future__ import annotations

import os
import sys
import time

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

from physgen_bringup.graph.domain import HEARD_STATUS
from physgen_control.messages import topics
from physgen_control.nodes.heartbeat import BEATS, TIMEOUT_S

LISTEN_S = TIMEOUT_S + 3.5
"""Fast DDS announces a participant again after three seconds: a first announcement that a busy machine missed once let
a second graph in. The wait ends when a graph is heard."""


def hears_heartbeat(domain: int, listen_s: float = LISTEN_S) -> bool:
    """Return whether a node of a graph beats in a domain within `listen_s`.

    False without listening where DDS security is on: there a graph's keys keep others out, this program included.
    """
    if os.environ.get("ROS_SECURITY_ENABLE", "").lower() == "true":
        return False
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    heard: list[str] = []
    try:
        node = Node("physgen_probe", context=context, enable_rosout=False, start_parameter_services=False)
        node.create_subscription(String, topics.HEARTBEAT, lambda message: heard.append(message.data), BEATS)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        end_s = time.monotonic() + listen_s
        while not heard and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
        executor.shutdown()
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    return bool(heard)


if __name__ == "__main__":
    sys.exit(HEARD_STATUS if hears_heartbeat(int(sys.argv[1])) else 0)
