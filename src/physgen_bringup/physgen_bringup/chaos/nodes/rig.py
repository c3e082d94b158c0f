# SPDX-License-Identifier: Apache-2.0
"""A live graph that is kept for many rows: brings the arm to motion, and notices what must not happen to a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from physgen_bringup.chaos.nodes import helper
from physgen_bringup.chaos.nodes.probe import MOVING, ChaosProbe
from physgen_bringup.chaos.row import FAKE, LEARNED, MANISKILL, RowFailedError
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.graph.spec import Graph, NodeSpec
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.controller_config import ControllerConfig
from physgen_control.messages import topics
from physgen_control.nodes.dds_profile import without_shared_memory
from physgen_control.types import Fault, SafetyState
from physgen_msgs.srv import ResetEnv

CONTROLLER, RECORDER = "controller_node", "recorder_node"
WORDS = {
    FAKE: "sim:=fake task:=FrankaPick-v0 policy:=expert camera_profile:=96x64x5 record:=true",
    MANISKILL: "sim:=maniskill task:=PushCube-v1 policy:=expert pace:=realtime execution:=pipelined",
    LEARNED: "sim:=maniskill task:=PushCube-v1 policy:=physgen pace:=realtime",
}
# What the graph would add because a simulated arm may be late; a person arms the real one.
PATIENCE = ("max_state_age", "max_observation_age", "deadman_timeout", "teleop_timeout")

OF_THE_REAL_ARM = ("max_observation_age", "max_state_age", "hold_grace", "policy_timeout", "max_horizon")


def chaos_graph(kind: str, output_dir: Path) -> Graph:
    """Return the graph of a kind, without what would act beside the rows, with the limits of the real arm."""
    graph = build_graph(check_arguments(parse_arguments([*WORDS[kind].split(), f"output_dir:={output_dir}"])))
    acting = ("expert_node", "episode_runner_node")
    nodes = []
    for node in (node for node in graph.nodes if node.name not in acting):
        parameters = dict(node.parameters)
        if node.name == CONTROLLER:
            parameters["auto_arm"] = False
            if kind == FAKE:
                parameters = {name: value for name, value in parameters.items() if name not in PATIENCE}
            elif kind == MANISKILL:
                parameters |= {name: getattr(ControllerConfig(), name) for name in OF_THE_REAL_ARM}
        if node.name == "bridge_node":
            parameters["render"] = (
                False  # drawn by a CPU, images do not keep up with real time, and no row looks at them
            )
        if node.name == "fake_franka_node":
            parameters["state_rate"] = 50.0
        if node.name == RECORDER:
            parameters["drain_s"] = 1.0
        nodes.append(replace(node, parameters=parameters, required=False))
    return replace(graph, nodes=tuple(nodes), ends_with=None)


def helper_node(mode: str, *, sim_time: bool) -> NodeSpec:
    """Return the helper as a process that the runner can start."""
    return NodeSpec(
        package="physgen_bringup",
        executable=helper.NAME,
        name=f"{helper.NAME}_{mode}",
        module="physgen_bringup.chaos.nodes.helper",
        parameters={"mode": mode, "use_sim_time": sim_time},
        required=False,
    )


class Rig:
    """One running graph; `open_rig` makes it."""

    def __init__(self, kind: str, runner: LocalRunner, probe: ChaosProbe, lines: list[str]) -> None:
        self.kind = kind
        self.runner = runner
        self.probe = probe
        self.lines = lines
        self.folder = runner.graph.output_dir
        self.names = [node.name for node in runner.graph.nodes]
        self.world = self.names[0]
        helpers = (helper_node(mode, sim_time=kind != FAKE) for mode in helper.PERIODS_S)
        runner.graph = replace(runner.graph, nodes=(*runner.graph.nodes, *helpers))

    # --- processes --------------------------------------------------------------------------------------------

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a node's process."""
        os.kill(self.runner.pid(name), number)

    def wait_dead(self, name: str, timeout_s: float = 10.0) -> None:
        """Wait until a process has ended."""
        self.probe.wait_for(lambda: not self.runner.alive(name), f"the end of {name}", timeout_s)

    def restart(self, name: str) -> None:
        """Start a node again."""
        self.runner.start_node(name)

    @contextmanager
    def helping(self, mode: str) -> Iterator[str]:
        """Run the helper for the block; yield the name of its process."""
        name = f"{helper.NAME}_{mode}"
        self.runner.start_node(name)
        try:
            yield name
        finally:
            with suppress(ProcessLookupError):
                self.kill(name)
            self.wait_dead(name)

    def dead(self) -> list[str]:
        """Return the names of nodes that do not run."""
        return [name for name in self.names if not self.runner.alive(name)]

    # --- the state that a row begins in -------------------------------------------------------------------------

    def prepare(self) -> None:
        """Bring every node to run, and the arm to be ARMED and to move.

        Raises:
            RowFailedError: That was not possible.
        """
        probe = self.probe
        for name in self.dead():
            self.restart(name)
        probe.device.fall_silent()
        probe.gripper = 1.0
        if self.kind == LEARNED:
            self._prepare_policy()
            return
        probe.connect()
        if self.kind == MANISKILL and not self._running_episode():
            self._begin_episode()
        probe.writer.episode_id = self._running_episode()
        self.make_moving()

    def _begin_episode(self) -> None:
        """Ask the world for one that no step limit ends; a stepped world publishes nothing before its first.

        Raises:
            RowFailedError: The world did not begin one.
        """
        before = self._running_episode()
        request = ResetEnv.Request(seed=1, init_state=-1, max_steps=1_000_000)
        try:
            answer = self.probe.call(ResetEnv, topics.RESET_ENV, request, 40.0)
        except RowFailedError:  # it went to a world that was killed and is still listed
            answer = self.probe.call(ResetEnv, topics.RESET_ENV, request, 60.0)
        if not answer.success:
            raise RowFailedError(f"the world did not begin an episode: {answer.message}")
        self.probe.wait_for(lambda: self._running_episode() not in ("", before), "an episode", 60.0)

    def _prepare_policy(self) -> None:
        """Let the policy of the graph move the arm in a new episode."""
        self.probe.disconnect()
        self.probe.wait_for(
            lambda: self.probe.node.count_publishers(topics.ACTION_CHUNK) == 1, "a policy", 90.0
        )
        self._begin_episode()
        self.make_armed()
        self.probe.wait_for(self.moving, "motion by the policy", 60.0)

    def make_moving(self, timeout_s: float = 60.0) -> None:
        """Arm and play until the arm moves, as often as a busy machine makes the controller hold meanwhile.

        Raises:
            RowFailedError: The arm could not be brought to motion in time.
        """
        probe = self.probe
        deadline_s = time.monotonic() + timeout_s
        while True:
            probe.playing = True
            self.make_armed(deadline_s - time.monotonic())
            with suppress(RowFailedError):
                probe.wait_for(self.moving, "motion", 3.0)
                probe.spin(0.2)
                if probe.state is SafetyState.ARMED:
                    return
            if time.monotonic() > deadline_s:
                last = probe.acks[-1][1] if probe.acks else None
                raise RowFailedError(f"the arm could not be brought to motion: {probe.said}; {last}")

    def moving(self) -> bool:
        """Return whether the arm is armed and its joints move."""
        return self.probe.state is SafetyState.ARMED and self.probe.speed > MOVING

    def make_armed(self, timeout_s: float = 30.0) -> None:
        """Do what an operator does until the controller is armed.

        Raises:
            RowFailedError: The controller does not arm.
        """
        probe = self.probe
        end_s = time.monotonic() + timeout_s
        probe.wait_for(lambda: probe.said is not None, "the controller", timeout_s)
        while True:
            said = probe.said
            assert said is not None
            if said.state is SafetyState.FAULT:
                probe.trigger(topics.CLEAR_FAULT)
            silent = not probe.samples or time.monotonic() - probe.samples[-1][0] > 1.0
            if self.kind == FAKE and (said.faults & Fault.ROBOT_MODE or silent):
                probe.trigger("/fake_franka/recover")  # after a reflex no state comes
            answer = probe.arm()
            if answer.success:
                return
            if time.monotonic() > end_s:
                raise RowFailedError(f"the controller does not arm: {answer.message}")
            probe.spin(0.2)

    def _running_episode(self) -> str:
        episode = self.probe.episode
        return str(episode.episode_id) if episode is not None and episode.phase == 1 else ""

    # --- what must never happen ---------------------------------------------------------------------------------

    def mark(self) -> int:
        """Return a place in what the nodes printed."""
        return len(self.lines)

    def check(self, mark: int, may_refuse: bool = False) -> None:
        """Check that no node died or printed a traceback since the mark.

        Args:
            mark: Where to look from.
            may_refuse: The arm's driver may have refused a trajectory.

        Raises:
            RowFailedError: One did.
        """
        self.probe.spin(0.05)
        if dead := self.dead():
            last = self.runner.last_lines(dead[0])
            raise RowFailedError(f"{dead[0]} is dead: {last[-1] if last else 'it printed nothing'}")
        for index, line in enumerate(self.lines[mark:], mark):
            reflex = "reflex: " in line and "reflex: cartesian_reflex" not in line
            if "Traceback" in line or reflex or ("refused a trajectory" in line and not may_refuse):
                raise RowFailedError(f"a node printed: {' '.join(self.lines[index : index + 2])[:300]}")


@contextmanager
def open_rig(kind: str, folder: Path) -> Iterator[Rig]:
    """Start the graph, end it however the rows went."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = chaos_graph(kind, folder)
    # The probe is a participant as the nodes are: the same DDS profile, the same loopback.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name, value in graph.environment.items():
        os.environ.setdefault(name, value)
    lines: list[str] = []
    with PrivateDomain() as domain, _witness(domain, sim_time=kind != FAKE) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lines.append)
        try:
            runner.start()
            yield Rig(kind, runner, probe, lines)
        finally:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)  # a stopped process cannot end
            runner.stop()


def _witness(domain: int, *, sim_time: bool) -> ChaosProbe:
    """Return a probe that a process which stands still cannot hold up; nodes started later keep their own profile."""
    before = dict(os.environ)
    without_shared_memory(os.environ)
    try:
        return ChaosProbe(domain, sim_time=sim_time)
    finally:
        os.environ.clear()
        os.environ.update(before)
