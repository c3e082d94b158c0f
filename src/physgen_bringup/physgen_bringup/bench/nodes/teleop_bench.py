# SPDX-License-Identifier: Apache-2.0
"""Measures takeover and stop on the fake arm: `python -m physgen_bringup.bench.nodes.teleop_bench --trials 50`.

A policy moves the arm to and fro; again and again a human presses the deadman, moves, and lets go. Reported are the
times from the arrival of the first twist to the action made of it, from its sending to that action, and from the
sending of the release to the last moment at which a joint was measured moving.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState, Joy

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.graph.spec import Graph
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    action_chunk_to_msg,
    applied_action_from_msg,
    stamp_to_ns,
)
from physgen_control.teleop.command import RELEASED, Button, TeleopCommand
from physgen_control.types import ActionChunk, AppliedAction, SafetyState, Source
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import SafetyStatus

PERIOD_NS = 50_000_000
DEVICE_PERIOD_S = 0.025
MOVING = 1e-3
"""A joint faster than this [rad/s] moves."""

REST_NS = 400_000_000
"""At rest for so long: the stop is over."""


class Bench:
    """Policy, human and listener on one node."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("teleop_bench", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.state = SafetyState.DISARMED
        self.applied: list[AppliedAction] = []
        self.moved_ns = 0
        self.seen_ns = 0
        self.command: TeleopCommand = RELEASED
        self.policy = True
        self._sent, self._session = 0, uuid.uuid4().hex
        create = self.node.create_subscription
        create(SafetyStatus, topics.SAFETY_STATUS, self._on_safety, qos.LATCHED)
        create(AppliedActionMsg, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        create(JointState, topics.JOINT_STATES, self._on_joints, qos.STATE_READER)
        self._chunks = self.node.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
        self._twists = self.node.create_publisher(TwistStamped, topics.TELEOP_TWIST, qos.COMMAND)
        self._joys = self.node.create_publisher(Joy, topics.TELEOP_JOY, qos.COMMAND)
        self.node.create_timer(DEVICE_PERIOD_S, self.publish)
        self.node.create_timer(6 * PERIOD_NS / 1e9, self._send_chunk)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def now_ns(self) -> int:
        """ROS time [ns]."""
        return int(self.node.get_clock().now().nanoseconds)

    def wait(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
        """Spin until the condition holds; False after the time."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.005)
        return True

    def publish(self) -> None:
        """Publish what a device sends."""
        self._joys.publish(Joy(buttons=self.command.joy_buttons()))
        if self.command.deadman and np.any(self.command.twist):
            message = TwistStamped()
            message.twist.linear.y = float(self.command.twist[1])
            self._twists.publish(message)

    def _send_chunk(self) -> None:
        if not self.policy:
            return
        self._sent += 1
        data = np.zeros((8, 7), np.float32)
        data[..., 1], data[..., 6] = 0.003 * (-1) ** self._sent, 1.0
        step = self.applied[-1].step + 1 if self.applied else 0
        chunk = ActionChunk.of(
            data, session_id=self._session, chunk_seq=self._sent, base_step=step,
            stamp_ns=self.now_ns(), step_period_ns=PERIOD_NS,
        )  # fmt: skip
        self._chunks.publish(action_chunk_to_msg(chunk))

    def _on_safety(self, message: SafetyStatus) -> None:
        self.state = SafetyState(message.state)

    def _on_applied(self, message: AppliedActionMsg) -> None:
        self.applied.append(applied_action_from_msg(message))

    def _on_joints(self, message: JointState) -> None:
        self.seen_ns = stamp_to_ns(message.header.stamp)
        if np.max(np.abs(message.velocity[:7])) > MOVING:
            self.moved_ns = self.seen_ns


def trial(bench: Bench, number: int) -> tuple[float, float, float] | None:
    """Return the times of one takeover and release [s]: from arrival and from sending to the action, and to rest.

    None where the policy did not act, the human was not obeyed, or the arm did not rest in time.
    """
    bench.policy, count = True, len(bench.applied)
    if not bench.wait(lambda: any(a.source is Source.POLICY for a in bench.applied[count:]), 20.0):
        return None
    held = frozenset({Button.DEADMAN})
    bench.command = TeleopCommand(buttons=held)
    phase_ns = bench.now_ns() + (number * 7 % 50) * 1_000_000  # at every phase of the control period
    bench.wait(lambda: bench.now_ns() >= phase_ns + 60_000_000)
    twist = np.array([0.0, 0.1 * (-1) ** number, 0.0, 0.0, 0.0, 0.0])
    bench.command = TeleopCommand(twist=twist, buttons=held)
    count, sent_ns = len(bench.applied), bench.now_ns()
    bench.publish()
    # One twist alone: the latency of the action is that of this one.
    bench.command = TeleopCommand(buttons=held)
    human = lambda: [a for a in bench.applied[count:] if a.source is Source.TELEOP]  # noqa: E731
    if not bench.wait(lambda: bool(human()), 5.0):
        return None
    first = human()[0]
    bench.command = TeleopCommand(twist=twist, buttons=held)
    end_ns = bench.now_ns() + 500_000_000
    bench.wait(lambda: bench.now_ns() >= end_ns)
    bench.policy, bench.command = False, RELEASED
    released_ns = bench.now_ns()
    bench.publish()
    if not bench.wait(lambda: bench.seen_ns - max(bench.moved_ns, released_ns) > REST_NS, 20.0):
        return None
    return first.latency, (first.stamp_ns - sent_ns) / 1e9, max(bench.moved_ns - released_ns, 0) / 1e9


def summary(values: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and worst in milliseconds."""
    in_ms = 1000 * np.array(values)
    p50, p95 = np.percentile(in_ms, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(float(in_ms.max()), 1)}


def bench_graph(folder: Path) -> Graph:
    """Return the fake arm and the controller; cameras as slow as possible."""
    words = ["sim:=fake", "task:=FrankaPick-v0", "policy:=expert", "teleop:=joy"]
    words += ["camera_profile:=96x64x1", f"output_dir:={folder}"]
    graph = build_graph(check_arguments(parse_arguments(words)))
    nodes = tuple(node for node in graph.nodes if node.name in ("fake_franka_node", "controller_node"))
    return replace(graph, nodes=nodes, ends_with=None)


def main(arguments: list[str] | None = None) -> int:
    """Run the trials and print the numbers."""
    parser = argparse.ArgumentParser(prog="teleop_bench", description=__doc__)
    parser.add_argument("--trials", type=int, default=50, help="takeovers to make")
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers to a file too")
    options = parser.parse_args(arguments)
    results: list[tuple[float, float, float]] = []
    tried = 0
    with tempfile.TemporaryDirectory() as folder, PrivateDomain() as domain:
        runner = LocalRunner(bench_graph(Path(folder)), domain_id=domain)
        bench = Bench(domain)
        try:
            runner.start()
            if not bench.wait(lambda: bench.state is SafetyState.ARMED, 120.0):
                sys.stderr.write("teleop_bench: the controller did not arm itself within 120 s\n")
                return 1
            for number in range(options.trials):
                tried = number + 1
                result = trial(bench, number)
                if result is not None:
                    results.append(result)
                shown = "failed" if result is None else ", ".join(f"{1000 * value:.0f}" for value in result)
                sys.stderr.write(f"{number + 1} of {options.trials}: {shown} ms\n")
        except KeyboardInterrupt:
            sys.stderr.write("teleop_bench: stopped early\n")
        finally:
            runner.stop()
            bench.close()
    if not results:
        sys.stderr.write("teleop_bench: no trial succeeded; is this machine overloaded?\n")
        return 1
    columns = [list(column) for column in zip(*results, strict=True)]
    numbers = {
        "trials": len(results),
        "failed": tried - len(results),
        "arrival_to_action_ms": summary(columns[0]),
        "sending_to_action_ms": summary(columns[1]),
        "release_to_rest_ms": summary(columns[2]),
    }
    text = json.dumps(numbers, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        Path(options.json).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
