# SPDX-License-Identifier: Apache-2.0
"""The real-arm path as processes over DDS against the fake Franka: motion, faults, recovery, dead processes."""

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physgen_bringup.graph.spec import Graph

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from arm_probe import ArmProbe, sideways
from running_processes import children

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_bringup.results import results
from physgen_control.types import Fault, SafetyState

pytestmark = [pytest.mark.ros, pytest.mark.realtime]

CAMERA = "camera_profile:=96x64x5"
HAVE_DRIVER_TYPES = all(
    importlib.util.find_spec(name) for name in ("control_msgs", "franka_msgs", "controller_manager_msgs")
)
needs_driver_types = pytest.mark.skipif(
    not HAVE_DRIVER_TYPES,
    reason="control_msgs, franka_msgs and controller_manager_msgs are not on the pip runtime",
)


def graph_of(tmp_path: Path, *words: str, task: str = "FrankaPick-v0") -> Graph:
    given = ["sim:=fake", f"task:={task}", "policy:=expert", CAMERA, f"output_dir:={tmp_path}", *words]
    return build_graph(check_arguments(parse_arguments(given)))


@contextmanager
def running(
    tmp_path: Path,
    *words: str,
    fake: dict[str, Any] | None = None,
    controller: dict[str, Any] | None = None,
    task: str = "FrankaPick-v0",
) -> Iterator[tuple[LocalRunner, ArmProbe]]:
    """Arm and controller as processes, and a probe that plays the policy; yields runner and probe."""
    graph = graph_of(tmp_path, *words, task=task)
    nodes = []
    fake = {"state_rate": 40.0} | (fake or {})
    for name, changes in (("fake_franka_node", fake), ("controller_node", controller)):
        node = graph.node(name)
        nodes.append(replace(node, parameters={**node.parameters, **(changes or {})}, required=False))
    graph = replace(graph, nodes=tuple(nodes), ends_with=None)
    with PrivateDomain() as domain, ArmProbe(domain) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lambda line: None)
        try:
            runner.start()
            yield runner, probe
        finally:
            runner.stop()
    assert children() == []


def armed(probe: ArmProbe) -> None:
    probe.wait_for(lambda: probe.state == SafetyState.ARMED, "the controller to arm itself", 60.0)


def held(probe: ArmProbe, fault: Fault) -> Callable[[], bool]:
    return lambda: probe.state == SafetyState.HOLD and bool(probe.faults & fault)


def test_the_expert_picks_the_cube_through_joint_trajectories(tmp_path):
    graph = graph_of(tmp_path, "episodes:=1", "seed:=1", "record:=true")
    lines: list[str] = []
    with PrivateDomain() as domain:
        status = LocalRunner(graph, domain_id=domain, console=lines.append).run()
    assert status == 0, "\n".join(lines)
    [episode] = results.read(tmp_path / "results.json").episodes
    assert episode.success and not episode.crashed
    assert children() == []

    from rosbags.highlevel import AnyReader

    [bag] = (tmp_path / "bags").iterdir()
    with AnyReader([bag]) as reader:
        assert any(c.topic == "/franka_robot_state_broadcaster/current_pose" for c in reader.connections)
        count = 0
        for connection, _, raw in reader.messages():
            if connection.topic != "/physgen_arm_controller/joint_trajectory":
                continue
            message: Any = reader.deserialize(raw, connection.msgtype)
            times = [p.time_from_start.sec + p.time_from_start.nanosec / 1e9 for p in message.points]
            assert list(message.joint_names) == [f"fr3_joint{i}" for i in range(1, 8)]
            assert np.all(np.diff(times) > 0) and not np.any(message.points[-1].velocities)
            count += 1
    assert count > 50


@pytest.mark.parametrize("execution", ["sync", "pipelined"])
def test_scripted_chunks_move_the_cube(tmp_path, execution):
    """Eight actions per chunk, from the script of a push, into a cell whose state is only measured."""
    from physgen_sim_bridge.experts.by_task import make_expert

    with running(tmp_path, f"execution:={execution}", task="FrankaPush-v0") as (_, probe):
        armed(probe)
        probe.wait_for(lambda: probe.scene is not None, "the scene")
        start = probe.seen.objects["cube"].position.copy()
        expert = make_expert("fake", "FrankaPush-v0")

        def script() -> np.ndarray:
            scene = probe.seen
            action = expert.act(scene.objects, scene.tcp_pose, scene.gripper_width)
            return np.tile(action, (8, 1))

        def pushed() -> bool:
            probe.help()
            return bool(np.linalg.norm(probe.seen.objects["cube"].position - start) > 0.03)

        probe.keep_sending(script, pushed, "the cube to move", 90.0)
        assert len(probe.trajectories) > 5


def test_a_reflex_means_hold_with_its_reason_and_recovery_resumes(tmp_path):
    with running(tmp_path) as (_, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        assert probe.trigger("/fake_franka/reflex").success
        expected = Fault.ROBOT_MODE if HAVE_DRIVER_TYPES else Fault.STATE_STALE
        probe.keep_moving(held(probe, expected), f"HOLD after the reflex ({probe.detail})", 20.0)
        if HAVE_DRIVER_TYPES:
            assert probe.said("cartesian_reflex")
            assert not probe.arm().success
            assert probe.trigger("/physgen/recover").success
            probe.wait_for(lambda: "is recovered" in probe.detail, f"the recovery ({probe.detail})", 30.0)
        else:
            assert not probe.trigger("/physgen/recover").success  # says that the types are missing
            assert probe.trigger("/fake_franka/recover").success
        probe.wait_for(lambda: probe.arm().success, "arming", 20.0)
        probe.keep_moving(probe.moving, "motion after the recovery", 60.0)
        assert probe.state == SafetyState.ARMED, probe.detail


def test_a_frozen_state_means_hold_until_armed_again(tmp_path):
    with running(tmp_path) as (_, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        probe.switch("/fake_franka/freeze_state", True)
        probe.keep_moving(held(probe, Fault.STATE_STALE), "HOLD without a state", 20.0)
        assert probe.said("s old")
        probe.switch("/fake_franka/freeze_state", False)
        probe.wait_for(lambda: probe.arm().success, "arming", 30.0)
        probe.keep_moving(lambda: probe.state == SafetyState.ARMED and probe.moving(), "motion again", 60.0)


def test_a_dead_driver_means_hold_and_says_so(tmp_path):
    with running(tmp_path) as (runner, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        os.kill(runner.pid("fake_franka_node"), signal.SIGKILL)
        took = probe.keep_moving(held(probe, Fault.STATE_STALE), "HOLD without a driver", 20.0)
        assert took < 10.0
        runner.start_node("fake_franka_node")
        probe.wait_for(lambda: probe.arm().success, "the driver's return and arming", 60.0)
        probe.keep_moving(probe.moving, "motion again", 60.0)


def test_a_policy_that_stops_lets_the_arm_come_to_rest(tmp_path):
    with running(tmp_path) as (_, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        probe.wait_for(held(probe, Fault.POLICY_LATE), "HOLD without a next chunk", 20.0)
        probe.wait_for(probe.resting, "rest", 20.0)
        # New chunks resume without anybody's help.
        probe.keep_moving(probe.moving, "motion again", 60.0)


def test_a_killed_controller_leaves_the_arm_at_rest(tmp_path):
    with running(tmp_path) as (runner, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        os.kill(runner.pid("controller_node"), signal.SIGKILL)
        probe.wait_for(probe.resting, "rest after the tail", 20.0)


def test_a_blocked_arm_means_hold(tmp_path):
    with running(tmp_path) as (_, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        probe.switch("/fake_franka/block_arm", True)
        # One way only: a command to and fro may stay within the tolerance of where the arm is stuck.
        stopped = held(probe, Fault.WRENCH | Fault.TRACKING)
        probe.keep_sending(lambda: sideways(0.004), stopped, "HOLD of a blocked arm", 40.0)
        probe.switch("/fake_franka/block_arm", False)
        assert probe.state == SafetyState.HOLD
        probe.wait_for(lambda: probe.arm().success, "arming", 20.0)
        probe.keep_moving(probe.moving, "motion again", 60.0)


def test_noise_and_latency_within_reason_do_not_stop_the_arm(tmp_path):
    with running(tmp_path, fake={"noise": 0.001, "state_latency": 0.03, "command_latency": 0.02}) as (
        _,
        probe,
    ):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        for _ in range(3):
            probe.accepted(sideways(0.003), 30.0)
        assert not probe.faults & (Fault.STATE_STALE | Fault.TRACKING | Fault.WRENCH), probe.detail


def test_a_late_state_is_a_stale_state(tmp_path):
    with running(tmp_path, fake={"state_latency": 1.5}) as (_, probe):
        probe.wait_for(lambda: probe.joints is not None, "states", 60.0)

        def refusal():
            answer = probe.arm()
            assert not answer.success
            return "s old" in answer.message

        probe.wait_for(refusal, "the reason", 30.0)


def test_arming_lists_every_missing_precondition(tmp_path):
    with running(tmp_path, fake={"state_latency": 1.5}, controller={"auto_arm": False}) as (_, probe):
        probe.wait_for(lambda: probe.joints is not None, "states", 60.0)
        probe.node.destroy_publisher(probe._chunks)

        def refusal():
            answer = probe.arm()
            return (
                not answer.success
                and "Nobody publishes action chunks" in answer.message
                and "old" in answer.message
            )

        probe.wait_for(refusal, "both reasons", 30.0)


def test_shadow_sends_nothing_to_the_arm(tmp_path):
    with running(tmp_path, "mode:=shadow") as (_, probe):
        probe.wait_for(lambda: probe.state == SafetyState.SHADOW, "SHADOW", 60.0)
        sequence = probe.send(sideways(0.004))
        probe.wait_for(lambda: probe.ack(sequence) is not None, "an answer", 20.0)
        probe.wait_for(lambda: len(probe.applied) > 12, "steps", 20.0)
        assert any(any(action.applied[:6]) for action in probe.applied)
        assert not any(action.executed for action in probe.applied)
        probe.wait_for(probe.resting, "an arm at rest", 10.0)
        assert probe.trajectories == []


@needs_driver_types
@pytest.mark.parametrize("interface", ["franka", "gripper_command"])
def test_the_gripper_closes_by_goals_and_a_dropped_goal_is_sent_again(tmp_path, interface):
    with running(tmp_path, controller={"gripper_interface": interface}) as (_, probe):
        armed(probe)
        probe.accepted(sideways(0.001, gripper=-1.0), 60.0)
        probe.wait_for(lambda: sum(probe.joints.position[7:9]) < 0.01, "closed fingers", 20.0)
        probe.switch("/fake_franka/drop_goals", True)
        probe.accepted(sideways(-0.001, gripper=1.0), 30.0)
        probe.wait_for(lambda: probe.faults & Fault.GRIPPER, "the gripper's trouble", 20.0)
        assert probe.said("refused")
        probe.switch("/fake_franka/drop_goals", False)
        probe.wait_for(lambda: sum(probe.joints.position[7:9]) > 0.07, "open fingers", 20.0)
        probe.wait_for(lambda: not probe.faults & Fault.GRIPPER, "the end of the trouble", 20.0)


@needs_driver_types
def test_the_user_stop_holds_until_released_recovered_and_armed(tmp_path):
    with running(tmp_path) as (_, probe):
        armed(probe)
        probe.keep_moving(probe.moving, "motion", 60.0)
        probe.switch("/fake_franka/user_stop", True)
        probe.keep_moving(held(probe, Fault.ROBOT_MODE), "HOLD with the user stop", 20.0)
        assert probe.said("user stop")
        probe.trigger("/physgen/recover")
        probe.wait_for(lambda: "Recovery failed" in probe.detail, "a failed recovery", 30.0)
        probe.switch("/fake_franka/user_stop", False)
        probe.trigger("/physgen/recover")
        probe.wait_for(lambda: "is recovered" in probe.detail, "the recovery", 30.0)
        probe.wait_for(lambda: probe.arm().success, "arming", 20.0)
        probe.keep_moving(probe.moving, "motion again", 60.0)
