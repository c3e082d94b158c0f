# SPDX-License-Identifier: Apache-2.0
"""The whole graph as real processes over DDS, on the fake world."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluations import make_in_process

from physgen_bringup.graph.spec import Graph

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from running_processes import children

from physgen_bringup.episode.tally import actions_path
from physgen_bringup.evaluation.run import EvaluationSpec
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_bringup.results import results

pytestmark = pytest.mark.ros

SEEDS = (3, 4)


def graph_of(tmp_path: Path, *words: str) -> Graph:
    given = ["sim:=fake", "policy:=expert", f"output_dir:={tmp_path}", *words]
    return build_graph(check_arguments(parse_arguments(given)))


@pytest.fixture(scope="module")
def lockstep_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """One recorded lockstep run, shared by the tests that look at its results."""
    folder = tmp_path_factory.mktemp("lockstep")
    graph = graph_of(
        folder, f"seed:={SEEDS[0]}", f"episodes:={len(SEEDS)}", "record:=true", "save_actions:=true"
    )
    lines: list[str] = []
    with PrivateDomain() as domain:
        status = LocalRunner(graph, domain_id=domain, console=lines.append).run()
    assert status == 0, "\n".join(lines)
    assert children() == []
    return folder, lines


def test_the_expert_solves_the_fake_task_through_the_graph(lockstep_run):
    folder, lines = lockstep_run
    evaluation = results.read(folder / "results.json")
    assert [episode.seed for episode in evaluation.episodes] == list(SEEDS)
    assert all(episode.success and not episode.crashed for episode in evaluation.episodes)
    assert all(episode.stale_steps == 0 for episode in evaluation.episodes)
    assert evaluation.latencies.observation_to_chunk
    assert any("success 2/2" in line for line in lines)


def test_every_episode_has_a_bag_with_all_its_steps(lockstep_run):
    from physgen_control.bags.find import find_bags
    from physgen_control.bags.reader import read_episode

    folder, _ = lockstep_run
    evaluation = results.read(folder / "results.json")
    recordings = {bag.episode.seed: bag for bag in map(read_episode, find_bags(folder / "bags"))}
    for episode in evaluation.episodes:
        recording = recordings[episode.seed]
        assert [action.step for action in recording.applied] == list(range(episode.steps))
        assert len(recording.fixed) == len(recording.wrist) == episode.steps + 1


def test_the_graph_and_the_in_process_loop_apply_the_same_actions(lockstep_run, tmp_path):
    """Bit for bit: otherwise neither evaluation says anything about the other."""
    folder, _ = lockstep_run
    session = make_in_process(
        EvaluationSpec(
            sim="fake",
            task="FakePush-v0",
            policy="expert",
            checkpoint=None,
            episodes=len(SEEDS),
            seed=SEEDS[0],
            max_steps=0,
            out=tmp_path,
            workers=1,
            save_actions=True,
        )
    )
    try:
        for seed in SEEDS:
            session.run_episode(seed)
    finally:
        session.close()
    for seed in SEEDS:
        with np.load(actions_path(folder, seed)) as ros, np.load(actions_path(tmp_path, seed)) as alone:
            assert set(ros) == set(alone)
            for name in ros:
                np.testing.assert_array_equal(ros[name], alone[name], err_msg=f"seed {seed}: {name}")


def test_a_finished_evaluation_is_not_run_again(lockstep_run, tmp_path):
    folder, _ = lockstep_run
    before = results.read(folder / "results.json").episodes
    graph = graph_of(folder, f"seed:={SEEDS[0]}", f"episodes:={len(SEEDS)}")
    lines: list[str] = []
    with PrivateDomain() as domain:
        status = LocalRunner(graph, domain_id=domain, console=lines.append).run()
    assert status == 0
    assert any("0 of 2 episodes to run" in line for line in lines)
    assert results.read(folder / "results.json").episodes == before


def test_a_killed_policy_means_hold_and_its_restart_means_motion(tmp_path):
    """In realtime the world goes on: the controller must hold by itself, and recover without anybody's help."""
    from graph_probe import GraphProbe

    from physgen_msgs.msg import AppliedAction, SafetyStatus

    graph = graph_of(tmp_path, "pace:=realtime", "episodes:=50")
    optional = replace(graph.node("expert_node"), required=False)
    graph = replace(graph, nodes=tuple(optional if n.name == optional.name else n for n in graph.nodes))
    with PrivateDomain() as domain, GraphProbe(domain) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lambda line: None)

        def moving() -> bool:
            return any(action.source == AppliedAction.SOURCE_POLICY for action in probe.applied)

        def held() -> bool:
            return bool(probe.safety) and probe.safety[-1].state == SafetyStatus.HOLD

        try:
            runner.start()
            probe.wait_for(moving, "the expert moves the arm", 90.0)
            os.kill(runner.pid("expert_node"), signal.SIGKILL)
            probe.safety.clear()
            took = probe.wait_for(held, "the controller holds", 10.0)
            assert took < 5.0
            assert probe.safety[-1].faults & SafetyStatus.FAULT_POLICY_LATE
            probe.applied.clear()
            probe.wait_for(lambda: len(probe.applied) >= 3, "hold steps go on", 10.0)
            assert all(action.source == AppliedAction.SOURCE_HOLD for action in probe.applied)
            assert all(not any(action.applied[:6]) for action in probe.applied)
            runner.start_node("expert_node")
            probe.applied.clear()
            probe.wait_for(moving, "the restarted expert moves the arm", 60.0)
        finally:
            runner.stop()
    assert children() == []


def test_a_dead_world_ends_the_graph_with_its_name(tmp_path):
    graph = graph_of(tmp_path, "episodes:=50")
    lines: list[str] = []
    with PrivateDomain() as domain:
        runner = LocalRunner(graph, domain_id=domain, console=lines.append)
        try:
            runner.start()
            while not any("seed 0" in line for line in lines):
                with pytest.raises(TimeoutError):
                    runner.wait(timeout_s=0.2)
            os.kill(runner.pid("bridge_node"), signal.SIGKILL)
            assert runner.wait(timeout_s=30.0) != 0
        finally:
            runner.stop()
    assert any("bridge_node was killed by SIGKILL" in line for line in lines)
    assert children() == []


def test_who_is_missing_is_named(tmp_path):
    graph = graph_of(tmp_path)
    graph = graph.with_parameters("episode_runner_node", ready_timeout=6.0)
    graph = replace(graph, nodes=tuple(node for node in graph.nodes if node.name != "expert_node"))
    lines: list[str] = []
    with PrivateDomain() as domain:
        assert LocalRunner(graph, domain_id=domain, console=lines.append).run() != 0
    assert any("not ready in 6 s" in line and "expert_node" in line for line in lines), lines


def test_the_in_process_collector_records_the_same_data(lockstep_run, tmp_path):
    """`collect` may stand in for the graph only because its bags hold the same values."""
    from physgen_bringup.collection.run import make_collector
    from physgen_control.bags.find import find_bags
    from physgen_control.bags.reader import read_episode
    from physgen_sim_bridge.disturbance import DisturbanceConfig

    folder, _ = lockstep_run
    through_ros = {bag.episode.seed: bag for bag in map(read_episode, find_bags(folder / "bags"))}
    collector = make_collector("fake", "FakePush-v0", tail_steps=0, disturbance=DisturbanceConfig())
    for seed in SEEDS:
        ours = read_episode(collector.collect(seed, tmp_path).path)
        theirs = through_ros[seed]
        assert ours.outcome is theirs.outcome and ours.instruction == theirs.instruction
        for name in ("raw", "applied"):
            a, b = ([getattr(action, name) for action in bag.applied] for bag in (ours, theirs))
            assert np.array_equal(a, b)
        assert [a.limits for a in ours.applied] == [a.limits for a in theirs.applied]
        for camera in ("fixed", "wrist"):
            assert len(ours.images[camera]) == len(theirs.images[camera])
            for index in range(len(ours.images[camera])):
                assert np.array_equal(ours.images[camera].rgb(index), theirs.images[camera].rgb(index))
        assert np.array_equal(ours.joints.positions, theirs.joints.positions)
        assert np.array_equal(ours.poses.positions, theirs.poses.positions)
        assert np.array_equal(np.diff(ours.joints.stamps_ns), np.diff(theirs.joints.stamps_ns))
