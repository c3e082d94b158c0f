# SPDX-License-Identifier: Apache-2.0
"""No message, request or answer that was not expected ends a node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from physgen_control.errors import UserError
from physgen_control.messages.read import ConversionError
from physgen_control.nodes import qos
from physgen_control.nodes.guarded_node import GuardedNode

pytestmark = pytest.mark.ros

DOMAIN = 45
WAIT_S = 20.0


class Node(GuardedNode):
    """Remembers what came and what was unexpected."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__("guarded", context=context, enable_rosout=False)
        self.heard: list[str] = []
        self.unexpected: list[str] = []
        self.fails_again = False
        self.with_info: list[Any] = []
        self.create_subscription(String, "words", partial(self._on_words, "partial"), qos.COMMAND)
        self.create_subscription(String, "words", self._on_words_and_info, qos.COMMAND)
        self.create_service(SetBool, "switch", self._on_switch)
        self.create_service(Trigger, "refuse", self._on_refuse)

    def on_unexpected(self, error: Exception) -> None:
        self.unexpected.append(str(error))
        if self.fails_again:
            raise ConversionError("no time to say so")

    def _on_words(self, how: str, message: String) -> None:
        if message.data == "conversion":
            raise ConversionError("not a word")
        if message.data == "bug":
            raise ZeroDivisionError("boom")
        self.heard.append(f"{how} {message.data}")

    def _on_words_and_info(self, message: String, info: Any) -> None:
        self.with_info.append((message.data, info["received_timestamp"]))

    def _on_switch(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        raise RuntimeError("no switch")

    def _on_refuse(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        raise UserError("Not now.")


@pytest.fixture
def rig() -> Iterator[tuple[Node, Any, Callable[..., None]]]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = Node(context)
    peer = rclpy.create_node("peer", context=context, enable_rosout=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(peer)

    def wait_for(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, f"no {what} within {WAIT_S} s"
            executor.spin_once(timeout_sec=0.05)

    yield node, peer, wait_for
    executor.shutdown()
    node.destroy_node()
    peer.destroy_node()
    rclpy.shutdown(context=context)


def test_a_message_that_raises_does_not_end_the_node(rig: Any) -> None:
    node, peer, wait_for = rig
    words = peer.create_publisher(String, "words", qos.COMMAND)
    wait_for(lambda: words.get_subscription_count() == 2, "subscriptions")
    for word in ("conversion", "bug", "good"):
        words.publish(String(data=word))
    wait_for(lambda: len(node.with_info) == 3 and bool(node.heard), "word after the bad ones")
    assert node.heard == ["partial good"]
    assert node.unexpected == ["boom"]
    assert [word for word, _ in node.with_info] == ["conversion", "bug", "good"]


def test_a_service_that_raises_answers_with_the_reason(rig: Any) -> None:
    node, peer, wait_for = rig
    for kind, name, words in ((SetBool, "switch", "no switch"), (Trigger, "refuse", "Not now.")):
        client = peer.create_client(kind, name)
        wait_for(client.service_is_ready, name)
        future = client.call_async(kind.Request())
        wait_for(future.done, f"an answer of {name}")
        assert not future.result().success
        assert words in future.result().message
    assert node.unexpected == ["no switch"]


def test_a_timer_and_a_future_that_raise_do_not_end_the_node(rig: Any) -> None:
    node, _, wait_for = rig
    fired: list[int] = []

    def fire() -> None:
        fired.append(1)
        raise RuntimeError("tick")

    node.create_timer(0.01, fire)
    wait_for(lambda: len(fired) >= 3, "third tick")
    future: Future = Future(executor=None)
    node.when_done(future, lambda done: done.result().missing)
    future.set_result(None)
    assert any("missing" in sentence for sentence in node.unexpected)


def test_a_timer_may_end_its_node_with_a_sentence(rig: Any) -> None:
    node, _, wait_for = rig

    def gone() -> None:
        raise UserError("The device is gone.")

    node.create_timer(0.01, gone)
    with pytest.raises(UserError, match="gone"):
        wait_for(lambda: False, "end")


def test_a_report_that_fails_ends_no_node(rig) -> None:
    """A controller whose clock showed no time could not stamp its FAULT, and ended."""
    node, peer, wait_for = rig
    node.fails_again = True
    words = peer.create_publisher(String, "words", qos.COMMAND)
    wait_for(lambda: words.get_subscription_count() == 2, "readers")
    words.publish(String(data="bug"))
    wait_for(lambda: bool(node.unexpected), "the unexpected error")
    words.publish(String(data="good"))
    wait_for(lambda: "partial good" in node.heard, "the next message")


def test_impossible_times_are_not_believed(rig) -> None:
    node, peer, wait_for = rig
    node.set_parameters([Parameter("use_sim_time", value=True)])
    clock = peer.create_publisher(Clock, "/clock", qos.COMMAND)
    wait_for(lambda: clock.get_subscription_count() >= 1, "a reader of the clock")
    for seconds in (-1, 2**31 - 1, -(2**31), 7):
        clock.publish(Clock(clock=Time(sec=seconds)))
    wait_for(lambda: node.get_clock().now().nanoseconds == 7_000_000_000, "the time")
    assert node.unexpected == []
