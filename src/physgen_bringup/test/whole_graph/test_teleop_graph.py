# SPDX-License-Identifier: Apache-2.0
"""Teleoperation as processes over DDS against the fake Franka: devices, takeover, release, deadman, keyboard."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from arm_probe import ArmProbe, sideways
from human_probe import CLOSE, DEADMAN, HOLD, POLICY, TELEOP, HumanProbe
from running_processes import children
from terminal_user import TerminalUser

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_bringup.results import results
from physgen_control.bags.reader import read_episode
from physgen_control.motion import kinematics
from physgen_control.types import AckResult, EpisodePhase, SafetyState

pytestmark = [pytest.mark.ros, pytest.mark.realtime]

CAMERA = "camera_profile:=96x64x5"
# A slow state rate leaves a loaded machine time for the rest.
SLOW_STATES = "fake_franka_node:\n  ros__parameters:\n    state_rate: 40.0\n"


@contextmanager
def running(tmp_path: Path, device: str, **parameters: Any) -> Iterator[tuple[LocalRunner, HumanProbe]]:
    """Fake arm, controller and one device node, and a probe that is human and policy; yields runner and probe."""
    given = ["sim:=fake", "task:=FrankaPick-v0", "policy:=none", f"teleop:={device}", CAMERA]
    graph = build_graph(check_arguments(parse_arguments([*given, f"output_dir:={tmp_path}"])))
    graph = graph.with_parameters("fake_franka_node", state_rate=40.0)
    if parameters:
        graph = graph.with_parameters(f"{device}_teleop_node", **parameters)
    # A dead process must not end the others here.
    graph = replace(graph, nodes=tuple(replace(node, required=False) for node in graph.nodes))
    with PrivateDomain() as domain, HumanProbe(domain) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lambda line: None)
        try:
            runner.start()
            probe.wait_for(lambda: probe.state == SafetyState.ARMED, "the controller to arm itself")
            probe.wait_for(lambda: probe.scene is not None and probe.applied, "the scene")
            yield runner, probe
        finally:
            runner.stop()
    assert children() == []


def test_a_human_takes_over_from_a_policy_and_gives_it_back(tmp_path):
    with running(tmp_path, "joy") as (_, probe):
        # The policy moves with a closed gripper.
        probe.keep_sending(
            lambda: sideways(0.003 * (-1) ** probe.sent, gripper=-1.0),
            lambda: probe.steps(POLICY) and probe.seen.gripper_width < 0.01,
            "the policy's motion",
        )

        def policy() -> np.ndarray:
            return sideways(0.003 * (-1) ** probe.sent, gripper=-1.0)

        start = len(probe.applied)
        probe.push(forward=1.0)
        probe.hold(DEADMAN)
        probe.keep_sending(
            policy, lambda: probe.intervention and len(probe.steps(TELEOP, start)) > 10, "the takeover"
        )
        refused = [ack for ack in probe.acks if ack.result == AckResult.TELEOP_ACTIVE]
        assert refused and all("human" in ack.detail for ack in refused)
        first = next(i for i, action in enumerate(probe.applied) if i >= start and action.source == TELEOP)
        taken = probe.applied[first:]
        # From the first to the last step of the human nothing of the policy is played.
        assert not [action for action in taken if action.source == POLICY]
        assert all(action.applied[6] == -1.0 for action in taken)  # nobody opened the gripper
        assert any(action.applied[0] > 0.003 for action in taken)

        released = len(probe.applied)
        probe.push()
        probe.hold()
        probe.keep_sending(policy, probe.applied_by(POLICY, released), "the policy again")
        assert not probe.intervention


def test_a_released_deadman_brings_the_arm_to_rest(tmp_path):
    with running(tmp_path, "joy") as (_, probe):
        probe.push(left=1.0)
        probe.hold(DEADMAN)
        probe.wait_for(lambda: probe.intervention and probe.moving(), "motion")
        probe.hold()  # the stick is still pushed
        probe.wait_for(lambda: not probe.intervention and probe.resting(), "rest")
        count = len(probe.steps(TELEOP))
        probe.wait_for(lambda: len(probe.applied) > 200 or len(probe.steps(HOLD)) > 20, "further steps")
        assert len(probe.steps(TELEOP)) == count


def test_a_dead_device_brings_the_arm_to_rest(tmp_path):
    """The node is killed with the deadman down: its silence is the release."""
    with running(tmp_path, "joy") as (runner, probe):
        probe.push(left=1.0)
        probe.hold(DEADMAN)
        probe.wait_for(lambda: probe.intervention and probe.moving(), "motion")
        os.kill(runner.pid("joy_teleop_node"), signal.SIGKILL)
        probe.wait_for(lambda: not probe.intervention and probe.resting(), "rest")


def test_an_unplugged_gamepad_counts_as_released(tmp_path):
    with running(tmp_path, "joy") as (_, probe):
        probe.push(left=1.0)
        probe.hold(DEADMAN)
        probe.wait_for(lambda: probe.intervention and probe.moving(), "motion")
        probe.plugged = False
        probe.wait_for(lambda: not probe.intervention and probe.resting(), "rest")


def test_the_buttons_close_and_open_the_gripper(tmp_path):
    with running(tmp_path, "joy") as (_, probe):
        probe.hold(DEADMAN, CLOSE)
        probe.wait_for(lambda: probe.seen.gripper_width < 0.01, "closed fingers")
        probe.hold(DEADMAN)
        probe.wait_for(lambda: probe.applied[-1].source == TELEOP, "a step")
        assert probe.applied[-1].applied[6] == -1.0
        probe.hold(DEADMAN, 1)
        probe.wait_for(lambda: probe.seen.gripper_width > 0.07, "open fingers")


def test_a_spacemouse_moves_the_tool_where_it_is_pushed(tmp_path):
    with running(tmp_path, "spacemouse") as (_, probe):
        start = probe.tool
        probe.puck = np.array([0.8, 0.0, -0.8, 0.0, 0.0, 0.0])
        probe.wait_for(lambda: probe.tool[0] > start[0] + 0.02, "motion forwards")
        assert probe.tool[2] < start[2] - 0.01
        assert abs(probe.tool[1] - start[1]) < 0.005
        probe.puck = np.zeros(6)
        probe.wait_for(lambda: not probe.intervention and probe.resting(), "rest")


def test_the_arm_repeats_what_a_leader_does_after_the_clutch_closed(tmp_path):
    # A busy machine holds up this process for longer than the default, and an open clutch does not close by itself.
    with running(tmp_path, "gello", input_timeout=5.0) as (_, probe):
        # Somewhere else than the arm: only changes count.
        probe.leader = kinematics.HOME + np.array([0.3, 0.1, 0.0, 0.1, 0.0, 0.0, 0.0])
        probe.wait_for(lambda: probe.switch("/teleop/engage", True).success, "the clutch")
        # What a human asks for while the arm settles after arming is refused.
        probe.wait_for(
            lambda: (
                probe.intervention
                and probe.applied[-1].source == TELEOP
                and np.all(np.isfinite(probe.applied[-1].target_positions))
            ),
            "the human in command",
        )
        # The clutch may have closed while the arm still moved; the human brings it back to where it was then.
        probe.wait_for(
            lambda: probe.resting() and not np.any([action.applied[:6] for action in probe.applied[-5:]]),
            "the arm where the clutch closed",
        )
        arm, leader = probe.tool, kinematics.forward(probe.leader).position
        turned = probe.leader + np.array([0.0, 0.08, 0.0, 0.06, 0.0, 0.05, 0.0])
        way = kinematics.forward(turned).position - leader
        assert np.linalg.norm(way) > 0.02
        probe.leader = turned
        probe.wait_for(lambda: np.linalg.norm(probe.tool - arm - way) < 0.003, f"the way {way}")
        probe.plugged = False
        probe.wait_for(lambda: not probe.intervention and probe.resting(), "an open clutch")


@contextmanager
def typing(tmp_path: Path, *words: str) -> Iterator[tuple[TerminalUser, ArmProbe]]:
    """`physgen launch teleop:=keyboard` in a pseudo-terminal; yields the person at it and a probe."""
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(SLOW_STATES)
    command = [sys.executable, "-m", "physgen_bringup.commands.launch", "sim:=fake", "task:=FrankaPick-v0"]
    command += ["teleop:=keyboard", CAMERA, f"output_dir:={tmp_path}", f"params_file:={parameters}", *words]
    with (
        PrivateDomain() as domain,
        ArmProbe(domain) as probe,
        TerminalUser(
            command, {**os.environ, "ROS_DOMAIN_ID": str(domain), "XDG_CACHE_HOME": str(tmp_path)}
        ) as user,
    ):
        probe.node.destroy_publisher(probe._chunks)  # only listens here
        probe.wait_for(lambda: user.sees("arrow keys"), "the help on the screen")
        probe.wait_for(lambda: probe.state == SafetyState.ARMED, "the controller to arm itself")
        probe.wait_for(lambda: probe.scene is not None and probe.joints is not None, "the scene")
        yield user, probe
        user.type("\x03")
        user.wait_for(user.ended, "the end")
        assert user.restored()
    assert children() == []


def type_until(
    user: TerminalUser, probe: ArmProbe, keys: str | bytes, condition: Callable[[], object], what: str
) -> None:
    """As a person does: again until it happened."""
    due = [0]

    def check() -> bool:
        user.look()
        if probe.node.get_clock().now().nanoseconds > due[0]:
            user.type(keys)
            due[0] = probe.node.get_clock().now().nanoseconds + 300_000_000
        return bool(condition())

    probe.wait_for(check, what)


def test_keys_move_the_arm_close_the_gripper_and_start_episodes(tmp_path):
    with typing(tmp_path, "policy:=none") as (user, probe):
        for keys, axis, sign in (("w", 0, 1), (b"\x1b[D", 1, 1), ("f", 2, -1), ("d", 1, -1)):
            start = probe.seen.tcp_pose.position[axis]

            def moved(axis: int = axis, sign: int = sign, start: float = start) -> bool:
                return bool(sign * (probe.seen.tcp_pose.position[axis] - start) > 0.008)

            type_until(user, probe, keys, moved, f"motion by {keys!r}")
        assert {action.source for action in probe.applied} == {TELEOP, HOLD}
        probe.wait_for(lambda: user.look() and probe.resting(), "rest without a key")
        type_until(user, probe, "c", lambda: probe.seen.gripper_width < 0.01, "closed fingers")
        user.type("n")
        probe.wait_for(lambda: user.sees("runs: pick up the cube"), "an episode")
        probe.wait_for(lambda: probe.seen.episode_id, "the scene of the episode")
        user.type("y")
        probe.wait_for(lambda: user.sees("judges its episodes itself"), "the refusal")
        user.type("x")
        probe.wait_for(lambda: user.sees(EpisodePhase.DISCARDED.name), "the discarded episode")


def test_the_keyboard_pauses_the_expert_which_then_finishes(tmp_path):
    """Takeover and return with a real policy node: the picked cube needs re-planning from where the human left off."""
    with typing(tmp_path, "policy:=expert", "episodes:=1", "record:=true", "seed:=1") as (user, probe):
        probe.wait_for(lambda: user.look() and [a for a in probe.applied if a.source == POLICY], "the expert")
        user.type("t")
        probe.wait_for(lambda: user.sees("you are in command"), "the takeover")
        since = len(probe.applied)
        type_until(
            user,
            probe,
            "w",
            lambda: sum(a.source == TELEOP and np.any(a.applied[:3]) for a in probe.applied[since:]) > 5,
            "a human motion",
        )
        user.type("t")
        user.wait_for(user.ended, "the end of the episode", 120.0)
        assert user.process.returncode == 0, user.look()
    [episode] = results.read(tmp_path / "results.json").episodes
    assert episode.success and not episode.crashed
    [bag] = (tmp_path / "bags").iterdir()
    sources = [action.source for action in read_episode(bag).applied]
    assert sources.count(TELEOP) > 5 and sources.count(POLICY) > 20


@pytest.mark.slow
def test_a_scripted_person_records_demonstrations(tmp_path):
    """Episodes, bags and their labels come from teleoperation alone: no policy is in the graph."""
    words = [
        "sim:=fake",
        "task:=FrankaPick-v0",
        "policy:=none",
        "teleop:=script",
        "record:=true",
        "episodes:=1",
    ]
    graph = build_graph(
        check_arguments(parse_arguments([*words, "seed:=1", CAMERA, f"output_dir:={tmp_path}"]))
    )
    graph = graph.with_parameters("fake_franka_node", state_rate=40.0)
    lines: list[str] = []
    with PrivateDomain() as domain:
        status = LocalRunner(graph, domain_id=domain, console=lines.append).run()
    assert status == 0, "\n".join(lines)
    [bag] = (tmp_path / "bags").iterdir()
    recording = read_episode(bag)
    assert recording.outcome == EpisodePhase.SUCCESS, "\n".join(lines)
    assert {action.source for action in recording.applied} <= {TELEOP, HOLD}
    assert sum(action.source == TELEOP for action in recording.applied) > 30
    assert children() == []
