# SPDX-License-Identifier: Apache-2.0
"""The guard at a node's edge: no message, request or answer that was not expected ends a node, and with it a graph.

Every subscription, timer and service that a guarded node makes is wrapped, so that the guard cannot be forgotten; the
answers of futures go through `when_done`. What a node raises to end itself (a shutdown, a UserError of a timer) still
ends it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.messages.read import ConversionError

LATEST_S = 2**31 - 86_400
"""A node adds to the time it is: what a day's horizon past it would give must still be a time."""


class Guarded:
    """Mixed in before rclpy's Node or LifecycleNode."""

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """Make rclpy's subscription with a guarded callback; a time that no message of ours could carry is ignored."""
        if topic == topics.CLOCK:
            callback = _of_possible_times(callback)
        return super().create_subscription(msg_type, topic, self._guarded(callback), *args, **kwargs)  # type: ignore[misc]

    def create_timer(self, timer_period_sec: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """Make rclpy's timer with a guarded callback; a UserError of it still ends the node (a device that is gone)."""
        return super().create_timer(timer_period_sec, self._guarded(callback, ends=True), *args, **kwargs)  # type: ignore[misc]

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """Make rclpy's service; a handler that raises answers with `success` false and why, if it has such fields."""

        @wraps(callback)
        def handler(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:  # noqa: BLE001  (the edge of every node)
                if not isinstance(error, UserError):  # that one is an answer
                    self._judge(error)
                return _refusal(response, error)

        return super().create_service(srv_type, srv_name, handler, *args, **kwargs)  # type: ignore[misc]

    def when_done(self, future: Any, callback: Callable[[Any], object]) -> None:
        """Call `callback` with the future when it is done, guarded."""
        future.add_done_callback(self._guarded(callback))

    def on_unexpected(self, error: Exception) -> None:
        """Do what the node does about an exception that nobody expected; the traceback is logged already."""

    def _guarded(self, callback: Callable[..., object], *, ends: bool = False) -> Callable[..., object]:
        # rclpy asks the signature whether a callback takes the message's info too; wraps keeps it.
        @wraps(callback)
        def wrapper(*arguments: Any) -> object:
            try:
                return callback(*arguments)
            except Exception as error:
                if ends and isinstance(error, UserError) and not isinstance(error, ConversionError):
                    raise
                self._judge(error)
                return None

        return wrapper

    def _judge(self, error: Exception) -> None:
        """Log what was not expected; raise again what is meant to end the node."""
        node: Any = self
        if isinstance(error, UserError):
            node.get_logger().error(f"ignored a message: {error}", throttle_duration_sec=1.0)
            return
        if isinstance(error, ExternalShutdownException):
            raise error
        if not node.context.ok():
            return  # asked to stop within the callback: nothing can be published any more
        node.get_logger().error("".join(traceback.format_exception(error)), throttle_duration_sec=1.0)
        try:
            self.on_unexpected(error)
        except Exception as second:  # noqa: BLE001  (what a node says of its trouble may fail for the same reason)
            node.get_logger().error("".join(traceback.format_exception(second)), throttle_duration_sec=1.0)


class GuardedNode(Guarded, Node):
    """A node whose callbacks are guarded."""


def _of_possible_times(callback: Callable[[Any], object]) -> Callable[[Any], object]:
    """Return the clock's callback for times from 0 up to a day before the last that a message can hold."""

    @wraps(callback)
    def wrapper(message: Any) -> object:
        if not 0 <= message.clock.sec < LATEST_S:
            raise ConversionError(
                f"The time {message.clock.sec} s on {topics.CLOCK} must lie in 0 .. {LATEST_S}."
            )
        return callback(message)

    return wrapper


def _refusal(response: Any, error: Exception) -> Any:
    """Return a response that says that the request was not served."""
    if hasattr(response, "success"):
        response.success = False
    if hasattr(response, "message"):
        expected = isinstance(error, UserError)
        response.message = str(error) if expected else f"Not done: {type(error).__name__}: {error}"
    return response
