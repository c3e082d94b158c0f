# SPDX-License-Identifier: Apache-2.0
"""Which publishers live: told by the beats of their processes, not by what DDS still lists."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_msgs.msg import ActionChunk

pytestmark = pytest.mark.ros

DOMAIN = 46
POLICY = f"""
import rclpy
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_msgs.msg import ActionChunk
rclpy.init(domain_id={DOMAIN})
node = rclpy.create_node("policy_node")
chunks = node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
beats = Heartbeat(node, Role.POLICY)
rclpy.spin(node)
"""


class Listener:
    """A controller's view of the chunk topic."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("listener", context=self.context)
        self.heartbeat = Heartbeat(self.node, Role.CONTROLLER)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def living(self) -> int:
        return self.heartbeat.living_publishers(topics.ACTION_CHUNK)

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, f"not within {timeout_s:g} s: {what}"
            self.executor.spin_once(timeout_sec=0.02)


@pytest.fixture
def policies() -> Iterator[Any]:
    running = [subprocess.Popen([sys.executable, "-c", POLICY]) for _ in range(2)]
    yield running
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def listener(policies: Any) -> Iterator[Any]:
    """A listener that hears both policies."""
    listening = Listener()
    listening.wait(lambda: len(listening.heartbeat.participants) == 3, "beats of two policies and its own")
    yield listening
    listening.node.destroy_node()
    listening.context.try_shutdown()


def test_a_killed_process_counts_no_more_although_it_is_still_listed(listener, policies):
    listener.wait(lambda: listener.living() == 2, "two policies")
    policies[0].kill()
    listener.wait(lambda: listener.living() == 1, "one living policy", 5.0)
    assert listener.node.count_publishers(topics.ACTION_CHUNK) == 2


def test_a_process_that_stood_still_counts_again_when_it_goes_on(listener, policies):
    listener.wait(lambda: listener.living() == 2, "two policies")
    policies[0].send_signal(signal.SIGSTOP)
    listener.wait(lambda: listener.living() == 1, "one living policy", 5.0)
    stopped_s = time.monotonic()
    listener.wait(lambda: time.monotonic() > stopped_s + 3.0, "three seconds")
    policies[0].send_signal(signal.SIGCONT)
    listener.wait(lambda: listener.living() == 2, "two policies again", 5.0)


def test_a_publisher_that_never_beat_counts(listener, policies):
    listener.node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
    listener.wait(lambda: listener.living() == 3, "two policies and a stranger")
    for process in policies:
        process.kill()
    listener.wait(lambda: listener.living() == 1, "the stranger", 5.0)
