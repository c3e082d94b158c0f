# SPDX-License-Identifier: Apache-2.0
"""/physgen/run_policy through whole graphs: results, feedback, refusals, and a cancelled rollout that holds the arm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from graph_probe import GraphProbe
from rclpy.action import ActionClient
from running_processes import children
from std_srvs.srv import SetBool

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.bags.find import find_bags
from physgen_control.types import SafetyState
from physgen_msgs.action import RunPolicy

pytestmark = pytest.mark.ros


class Client:
    """A client of the action, spun with the probe of the graph."""

    def __init__(self, probe: GraphProbe) -> None:
        self._probe = probe
        self._client = ActionClient(probe.node, RunPolicy, "/physgen/run_policy")
        self._arm = probe.node.create_client(SetBool, "/physgen/set_armed")
        self.feedback: list[Any] = []
        probe.wait_for(self._client.server_is_ready, "the action server", 60.0)

    def ask(self, **goal: Any) -> Any:
        """Send a goal; its handle."""
        self.feedback.clear()
        sent = self._client.send_goal_async(
            RunPolicy.Goal(**goal), feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        self._probe.wait_for(sent.done, "the answer to a goal", 30.0)
        return sent.result()

    def result(self, handle: Any) -> RunPolicy.Result:
        future = handle.get_result_async()
        self._probe.wait_for(future.done, "the result", 120.0)
        return future.result().result

    def run(self, **goal: Any) -> RunPolicy.Result:
        handle = self.ask(**goal)
        assert handle.accepted
        return self.result(handle)

    def run_when_ready(self, **goal: Any) -> RunPolicy.Result:
        """As a person does, who asks again while the policy is still loading."""
        end_s = time.monotonic() + 60.0
        while "not ready" in (result := self.run(**goal)).message and time.monotonic() < end_s:
            self._probe.executor.spin_once(timeout_sec=0.2)
        return result

    def cancel(self, handle: Any) -> None:
        future = handle.cancel_goal_async()
        self._probe.wait_for(future.done, "the answer to a cancel", 30.0)

    def arm(self) -> None:
        future = self._arm.call_async(SetBool.Request(data=True))
        self._probe.wait_for(future.done, "arming", 30.0)
        assert future.result().success, future.result().message


@contextmanager
def graph(folder: Path, *words: str) -> Iterator[tuple[GraphProbe, Client]]:
    given = ["sim:=fake", "policy:=expert", "rollout:=true", f"output_dir:={folder}", *words]
    described = build_graph(check_arguments(parse_arguments(given)))
    lines: list[str] = []
    with PrivateDomain() as domain, GraphProbe(domain) as probe:
        runner = LocalRunner(described, domain_id=domain, console=lines.append)
        try:
            runner.start()
            yield probe, Client(probe)
        finally:
            runner.stop()
    assert children() == []


def held(probe: GraphProbe) -> Callable[[], bool]:
    def check() -> bool:
        return bool(probe.safety) and probe.safety[-1].state in (SafetyState.HOLD, SafetyState.DISARMED)

    return check


def test_rollouts_of_a_simulated_task(tmp_path: Path) -> None:
    with graph(tmp_path) as (_, client):
        first = client.run_when_ready(seed=3)
        assert (first.success, first.termination) == (True, RunPolicy.Result.COMPLETED), first.message
        assert first.steps > 3
        assert first.bag_path == ""
        refused = client.run(seed=4, record=True)
        assert refused.termination == RunPolicy.Result.ABORTED
        assert "record:=true" in refused.message
        short = client.run(seed=4, max_steps=2)
        assert (short.success, short.steps) == (False, 2)


def test_a_cancelled_rollout_holds_the_arm_until_somebody_arms_it(tmp_path: Path) -> None:
    with graph(tmp_path, "task:=FrankaPush-v0", "record:=true", "camera_profile:=64x48x30") as (
        probe,
        client,
    ):
        # The expert needs some seconds for it.
        client.run_when_ready(seed=1, max_steps=1)
        handle = client.ask(seed=1, record=True)
        assert handle.accepted
        early = handle.get_result_async()
        probe.wait_for(lambda: early.done() or any(f.step > 5 for f in client.feedback), "steps", 60.0)
        assert not early.done(), early.result().result.message
        assert not client.ask(seed=2).accepted  # one at a time
        client.cancel(handle)
        result = client.result(handle)
        assert result.termination == RunPolicy.Result.CANCELLED
        assert "/physgen/set_armed" in result.message
        probe.wait_for(held(probe), "the arm to hold", 10.0)
        steps = len(probe.applied)
        probe.wait_for(lambda: len(probe.applied) > steps + 20, "further control steps", 30.0)
        assert all(action.source != action.SOURCE_POLICY for action in probe.applied[steps + 1 :])
        client.arm()
        whole = client.run(seed=1, record=True)
        assert whole.success, whole.message
    assert len(find_bags(tmp_path / "bags")) >= 2
