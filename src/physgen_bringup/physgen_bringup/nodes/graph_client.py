# SPDX-License-Identifier: Apache-2.0
"""A short-lived node beside a running graph: it looks, it calls a service, it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from physgen_control.errors import UserError

M = TypeVar("M")

SPIN_S = 0.05
NAME = "physgen_cli"


class GraphClient:
    """A node in the domain of the environment; use it as a context manager, in one thread."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = Node(NAME, context=self._context, enable_rosout=False, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def spin_until(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Spin until the condition holds; False after the time-out."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=SPIN_S)
        return True

    def listen(self, message_type: type[M], topic: str, profile: QoSProfile) -> list[M]:
        """Return a list that fills with the messages of a topic while this spins."""
        heard: list[M] = []
        self.node.create_subscription(message_type, topic, heard.append, profile)
        return heard

    def call(self, service_type: Any, name: str, request: Any, *, find_s: float, answer_s: float) -> Any:
        """Call a service and return its response.

        Args:
            service_type: The service's class.
            name: Of the service.
            request: An instance of its request.
            find_s: how long to look for a server [s].
            answer_s: how long to wait for its answer [s].

        Raises:
            UserError: nobody serves it, or the answer did not come.
        """
        client = self.node.create_client(service_type, name)
        if not self.spin_until(client.service_is_ready, find_s):
            raise UserError(
                f"nobody serves {name} in this DDS domain; is the graph running, and does it have that service? "
                "`physgen status` shows what runs"
            )
        future = client.call_async(request)
        if not self.spin_until(future.done, answer_s):
            raise UserError(
                f"{name} did not answer within {answer_s:g} s; `physgen status` shows who is alive"
            )
        return future.result()
