# SPDX-License-Identifier: Apache-2.0
"""The motion monitor as a process over DDS beside the fake Franka: wild messages, dead controllers, and peace."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from arm_probe import ArmProbe
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from running_processes import children
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.types import SafetyState

# As for the other graphs with the fake arm: it moves in wall time, and a busy machine proves nothing.
pytestmark = [pytest.mark.ros, pytest.mark.realtime]

NAME = "motion_monitor_node: motion"
# Most of these graphs have no controller that could be heard.
MONITOR = {"state_timeout": 0.6, "status_timeout": 30.0}


class WildProbe(ArmProbe):
    """Also sends trajectories past everybody, and reads what the monitor says."""

    def __init__(self, domain_id: int) -> None:
        super().__init__(domain_id)
        self.reports: list[Any] = []
        self._commands = self.node.create_publisher(JointTrajectory, topics.JOINT_TRAJECTORY, qos.COMMAND)
        self.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_report, qos.COMMAND)

    def _on_report(self, message: Any) -> None:
        self.reports += [status for status in message.status if status.name == NAME]

    @property
    def stops(self) -> int:
        return int(self._value("stops"))

    @property
    def reaction_ms(self) -> float:
        return float(self._value("reaction_ms"))

    def _value(self, key: str) -> str:
        values = {item.key: item.value for item in self.reports[-1].values} if self.reports else {}
        return values.get(key, "0")

    def blamed(self, words: str) -> bool:
        return any(r.level == DiagnosticStatus.ERROR and words in r.message for r in self.reports)

    def ready(self) -> bool:
        """The arm reports; it, its monitor and this process listen to trajectories."""
        listeners = self._commands.get_subscription_count()
        return self.joints is not None and bool(self.reports) and listeners >= 3 and self.resting()

    def positions(self) -> np.ndarray:
        assert self.joints is not None
        return np.array(self.joints.position[:7])

    def command(self, turn: float, seconds: float, knots: int = 20) -> Any:
        """From rest to rest: joint 1 turns by `turn` [rad] in `seconds`; nobody has checked it."""
        start = self.positions()
        message = JointTrajectory(joint_names=[f"fr3_joint{index}" for index in range(1, 8)])
        for share in np.arange(1, knots + 1) / knots:
            place = 10 * share**3 - 15 * share**4 + 6 * share**5
            speed = 30 * (share**2 - 2 * share**3 + share**4) / seconds
            bend = 60 * (share - 3 * share**2 + 2 * share**3) / seconds**2
            first = np.eye(7)[0] * turn
            rest = share == 1.0
            due = round(share * seconds * 1e9)
            message.points.append(
                JointTrajectoryPoint(
                    positions=(start + place * first).tolist(),
                    velocities=(0.0 if rest else speed) * first,
                    accelerations=(0.0 if rest else bend) * first,
                    time_from_start=Duration(sec=due // 10**9, nanosec=due % 10**9),
                )
            )
        return message

    def publish(self, message: Any) -> None:
        self._commands.publish(message)


@contextmanager
def running(
    tmp_path: Path,
    *words: str,
    nodes: Sequence[str] = ("fake_franka_node", "motion_monitor_node"),
    **changes: dict[str, Any],
) -> Iterator[tuple[LocalRunner, WildProbe]]:
    """The named nodes as processes and a probe; yields runner and probe."""
    given = ["sim:=fake", "task:=FrankaPick-v0", "policy:=expert", "camera_profile:=96x64x5"]
    graph = build_graph(check_arguments(parse_arguments([*given, f"output_dir:={tmp_path}", *words])))
    picked = []
    for name in nodes:
        node = graph.node(name)
        more = {"fake_franka_node": {"state_rate": 100.0}, "motion_monitor_node": MONITOR}.get(name, {})
        parameters = {**node.parameters, **more, **changes.get(name, {})}
        picked.append(replace(node, parameters=parameters, required=False))
    graph = replace(graph, nodes=tuple(picked), ends_with=None)
    with PrivateDomain() as domain, WildProbe(domain) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lambda line: None)
        try:
            runner.start()
            probe.wait_for(probe.ready, "the arm and its monitor", 60.0)
            yield runner, probe
        finally:
            runner.stop()
    assert children() == []


def stopped(probe: WildProbe, wild: Any, timeout_s: float = 20.0) -> float:
    """Publish `wild` and wait for the answer and for rest; returns the seconds until the stop was here."""
    seen = len(probe.trajectories)
    probe.publish(wild)

    def answered() -> bool:
        # The wild one comes back to this process too; the monitor's has one knot.
        return any(len(message.points) == 1 for message in probe.trajectories[seen:])

    took = probe.wait_for(answered, "the stop", timeout_s)
    probe.wait_for(lambda: probe.stops > 0, "the report", timeout_s)
    probe.wait_for(probe.resting, "rest", timeout_s)
    return took


def test_a_wild_trajectory_is_stopped_before_the_arm_has_moved(tmp_path):
    with running(tmp_path) as (_, probe):
        before = probe.positions()
        took = stopped(probe, probe.command(1.5, 0.5))
        assert probe.blamed("turns joint 1")
        assert np.max(np.abs(probe.positions() - before)) < 0.02
        assert took < 1.0 and probe.reaction_ms < 50.0
        probe.wait_for(lambda: probe.reports[-1].level == DiagnosticStatus.OK, "the end of it", 20.0)
        [stop] = [message for message in probe.trajectories if len(message.points) == 1]
        assert not any(stop.points[0].velocities)
        assert stop.header.stamp.sec == 0 and stop.header.stamp.nanosec == 0


def test_a_wild_trajectory_in_motion_is_stopped_by_a_smooth_way_to_rest(tmp_path):
    with running(tmp_path) as (_, probe):
        start = probe.positions()
        probe.publish(probe.command(0.6, 4.0))
        probe.wait_for(lambda: probe.positions()[0] - start[0] > 0.1, "motion", 20.0)
        before = probe.positions()
        stopped(probe, probe.command(-2.0, 0.5))
        moved = probe.positions() - before
        assert 0.0 < moved[0] < 0.2  # onwards and to rest, not back
        # A good one is obeyed again.
        probe.wait_for(lambda: probe.reports[-1].level == DiagnosticStatus.OK, "the end of it", 20.0)
        probe.publish(probe.command(-0.2, 2.0))
        probe.wait_for(probe.moving, "motion after the stop", 20.0)
        assert probe.stops == 1


def test_a_trajectory_with_a_number_that_is_none_is_answered(tmp_path):
    with running(tmp_path) as (_, probe):
        wild = probe.command(0.1, 2.0)
        wild.points[7].positions[3] = float("nan")
        stopped(probe, wild)
        assert probe.blamed("not finite")


def test_every_wild_trajectory_of_a_row_is_stopped(tmp_path):
    with running(tmp_path) as (_, probe):
        before = probe.positions()
        for count in range(1, 6):
            probe.publish(probe.command(1.5, 0.5))

            def is_stopped(count: int = count) -> bool:
                return sum(len(m.points) == 1 for m in probe.trajectories) >= count

            probe.wait_for(is_stopped, "a stop", 20.0)
        probe.wait_for(lambda: probe.stops == 5, "the reports", 20.0)
        probe.wait_for(probe.resting, "rest", 20.0)
        assert np.max(np.abs(probe.positions() - before)) < 0.05


def test_a_controller_that_dies_while_something_else_moves_the_arm(tmp_path):
    """The controller's own motion ends at rest by itself; a long one of somebody else does not."""
    nodes = ("fake_franka_node", "motion_monitor_node", "controller_node")
    with running(tmp_path, nodes=nodes, motion_monitor_node={"status_timeout": 1.5}) as (runner, probe):
        probe.wait_for(lambda: probe.state == SafetyState.ARMED, "the controller to arm itself", 60.0)
        os.kill(runner.pid("controller_node"), signal.SIGKILL)
        start = probe.positions()
        probe.publish(probe.command(1.0, 10.0))
        probe.wait_for(lambda: probe.blamed("nothing was heard of the controller"), "the verdict", 20.0)
        probe.wait_for(probe.resting, "rest", 20.0)
        assert 0.0 < probe.positions()[0] - start[0] < 0.9
        assert probe.stops == 1


def test_states_that_end_in_motion_stop_an_arm_that_still_follows(tmp_path):
    with running(tmp_path) as (_, probe):
        probe.publish(probe.command(0.6, 8.0))
        probe.wait_for(probe.moving, "motion", 20.0)
        probe.switch("/fake_franka/freeze_state", True)
        probe.wait_for(lambda: probe.blamed("No joint state for"), "the verdict", 20.0)
        probe.switch("/fake_franka/freeze_state", False)
        probe.wait_for(probe.resting, "rest", 20.0)


def test_a_violation_makes_the_controller_hold_until_armed_again(tmp_path):
    nodes = ("fake_franka_node", "motion_monitor_node", "controller_node")
    with running(tmp_path, nodes=nodes) as (_, probe):
        probe.wait_for(lambda: probe.state == SafetyState.ARMED, "the controller to arm itself", 60.0)
        stopped(probe, probe.command(1.5, 0.5))
        probe.wait_for(lambda: probe.state == SafetyState.HOLD, "HOLD", 20.0)
        probe.wait_for(lambda: probe.arm().success, "arming", 20.0)
        probe.keep_moving(probe.moving, "motion again", 60.0)


def test_the_hold_is_asked_for_until_somebody_answers(tmp_path):
    """A controller that is found late, or was busy, hears of it; one that has answered is left alone."""
    with running(tmp_path) as (_, probe):
        stopped(probe, probe.command(1.5, 0.5))
        asked: list[Trigger.Request] = []

        def hold(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            asked.append(request)
            response.success = True
            return response

        probe.node.create_service(Trigger, topics.HOLD, hold)
        probe.wait_for(lambda: asked, "the monitor's request", 20.0)
        reports = len(probe.reports)
        probe.wait_for(lambda: len(probe.reports) > reports + 2, "three reports", 20.0)
        assert len(asked) == 1


def test_chunks_are_played_in_peace(tmp_path):
    nodes = ("fake_franka_node", "motion_monitor_node", "controller_node")
    with running(tmp_path, "execution:=pipelined", nodes=nodes) as (_, probe):
        probe.wait_for(lambda: probe.state == SafetyState.ARMED, "the controller to arm itself", 60.0)
        probe.keep_moving(lambda: len(probe.trajectories) > 30, "thirty trajectories", 90.0)
        reports = len(probe.reports)
        probe.wait_for(lambda: len(probe.reports) > reports, "a report", 20.0)
        assert probe.stops == 0
        assert probe.reports[-1].level == DiagnosticStatus.OK
