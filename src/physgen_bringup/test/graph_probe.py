# SPDX-License-Identifier: Apache-2.0
"""A node in the test process that listens to a running graph on its private domain."""

import time
from collections.abc import Callable
from typing import Any, Self

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from physgen_control.nodes import qos
from physgen_msgs.msg import AppliedAction, SafetyStatus


class GraphProbe:
    """Collects safety states and applied actions; use as a context manager."""

    def __init__(self, domain_id: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = rclpy.create_node("graph_probe", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.safety: list[Any] = []
        self.applied: list[Any] = []
        self.node.create_subscription(SafetyStatus, "/physgen/safety_status", self.safety.append, qos.LATCHED)
        self.node.create_subscription(
            AppliedAction, "/physgen/applied_action", self.applied.append, qos.COMMAND
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> float:
        """Spin until the condition holds; returns the seconds it took."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < timeout_s, f"not within {timeout_s} s: {what}"
            self.executor.spin_once(timeout_sec=0.05)
        return time.monotonic() - start
