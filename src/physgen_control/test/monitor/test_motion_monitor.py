# SPDX-License-Identifier: Apache-2.0
"""What the motion monitor makes of the joints and of silence, and the stops that it answers with."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_rig import CONFIG, LIMITS, PERIOD, REST, monitor_at, swing

import physgen_control
from physgen_control.monitor.monitor import MotionMonitor, Reaction
from physgen_control.monitor.segments import Knots, Segments
from physgen_control.motion.kinematics import HOME


def test_the_monitor_shares_no_code_path_with_what_plans() -> None:
    files = sorted((Path(physgen_control.__file__).parent / "monitor").glob("*.py"))
    assert len(files) >= 4
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("physgen_control."):
                room = str(node.module).split(".")[1]
                assert room in ("monitor", "program", "types"), f"{file.name}: {node.module}"


# --- what the joints do -------------------------------------------------------------------------------------------


def run(monitor: MotionMonitor, seconds: float, q: Any, v: Any, *, start: float = 0.0) -> list[Reaction]:
    """Show states of functions of time at 100 Hz, with a controller that lives."""
    reactions = []
    for now in np.arange(start + PERIOD, start + seconds, PERIOD):
        monitor.on_status(now)
        reactions.append(monitor.on_state(q(now), v(now), 0.0, now))
        reactions.append(monitor.watch(now))
    return [reaction for reaction in reactions if reaction is not None]


def test_a_joint_near_its_top_speed_is_stopped_once() -> None:
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(), 0.0, 0.0) is None
    fast = np.array([0.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    [reaction] = run(monitor, 0.1, lambda now: HOME, lambda now: fast)
    assert "Joint 2 turns with 2.50 rad/s" in reaction.sentence
    assert reaction.begins and reaction.stop is not None


def test_a_single_wrong_speed_is_not_believed() -> None:
    monitor = monitor_at()
    assert monitor.on_state(HOME, np.full(7, 9.0), 0.0, 0.01) is None
    assert monitor.on_state(HOME, REST, 0.0, 0.02) is None
    assert monitor.wrong == ""


def test_joints_that_leave_a_running_command_are_stopped() -> None:
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(), 0.0, 0.0) is None
    away = HOME + np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    [reaction] = run(monitor, 0.2, lambda now: away, lambda now: REST)
    assert "Joint 3 is 0.50 rad from its command" in reaction.sentence


def test_an_arm_that_a_hand_moves_is_left_alone() -> None:
    """Nobody commanded it: it may go where it likes, and states or a controller may be missing."""
    monitor = monitor_at()
    speed = np.array([0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    for now in np.arange(PERIOD, 4.0, PERIOD):
        assert monitor.on_state(HOME + speed * now, speed, 0.0, now) is None
        assert monitor.watch(now) is None


def test_states_that_end_in_motion_stop_the_arm() -> None:
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(), 0.0, 0.0) is None
    speed = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert run(monitor, 0.2, lambda now: HOME, lambda now: speed) == []
    reactions = []
    for now in np.arange(0.2, 1.0, 0.05):
        monitor.on_status(now)
        reactions.append(monitor.watch(now))
    [reaction] = [reaction for reaction in reactions if reaction is not None]
    assert "No joint state for 0.3" in reaction.sentence
    # Where the arm is is unknown: the stop begins with what was commanded.
    assert reaction.stop is not None
    assert HOME[0] < reaction.stop.positions[0, 0] < HOME[0] + 0.1


def test_states_that_end_at_rest_mean_nothing() -> None:
    monitor = monitor_at()
    assert [monitor.watch(now) for now in np.arange(0.05, 3.0, 0.05)] == [None] * 59


@pytest.mark.parametrize("heard", [True, False])
def test_a_controller_that_is_silent_in_motion_stops_the_arm(heard: bool) -> None:
    monitor = MotionMonitor(CONFIG, LIMITS)
    monitor.on_state(HOME, REST, 0.0, 0.0)
    if heard:
        monitor.on_status(0.0)
    assert monitor.on_trajectory(swing(size=0.3, seconds=3.0), 0.0, 0.0) is None
    speed = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    reactions = []
    for now in np.arange(PERIOD, 2.0, PERIOD):
        reactions += [monitor.on_state(HOME, speed, 0.0, now), monitor.watch(now)]
    [reaction] = [reaction for reaction in reactions if reaction is not None]
    assert "nothing was heard of the controller for 1.0" in reaction.sentence


def test_a_monitor_that_slept_complains_about_nobodys_silence() -> None:
    """On a busy machine it was late itself: what it missed may wait in its queue."""
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(), 0.0, 0.0) is None
    assert monitor.watch(5.0) is None
    assert monitor.watch(5.05) is not None


# --- stops --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    speeds=st.lists(st.floats(-2.6, 2.6), min_size=7, max_size=7),
    off=st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7),
)
def test_a_stop_is_within_the_limits_from_any_motion(speeds: list[float], off: list[float]) -> None:
    """From wherever the arm is and whatever it does, beside its command by as much as is tolerated."""
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(), 0.0, 0.0) is None
    measured_q, velocity = HOME + np.array(off), np.array(speeds)
    for now in (0.004, 0.007, 0.01):  # several in a row, or a jump is not believed
        monitor.on_state(measured_q, velocity, 0.0, now)
    reaction = monitor.on_trajectory("has 0 points", 0.0, 0.02)
    assert reaction is not None and reaction.stop is not None
    stop = reaction.stop
    assert not stop.velocities.any() and len(stop.times) == 1
    assert np.all(stop.positions >= LIMITS.lower) and np.all(stop.positions <= LIMITS.upper)
    rest = np.zeros((1, 7))
    way = Segments(
        Knots(
            np.concatenate([[0.0], stop.times]),
            np.vstack([measured_q, stop.positions]),
            np.vstack([velocity, rest]),
            np.zeros((2, 7)),
        )
    ).samples()
    if np.all(np.abs(stop.positions - measured_q - velocity * stop.times[0] / 2) < 1e-9):
        assert np.max(np.abs(way[2])) <= CONFIG.stop_acceleration * 1.001
    assert np.max(np.abs(way[1]) / LIMITS.speed) <= 1.2


@pytest.mark.parametrize("lie", [{3: 1.0}, {0: 0.5}], ids=["beyond the range", "a jump"])
def test_a_state_that_cannot_be_true_begins_no_stop_and_refuses_no_trajectory(lie: dict[int, float]) -> None:
    """The arm rests at the end of its command; one wrong state must not become the place that a stop begins at."""
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(), 0.0, 0.0) is None
    resting = swing().positions[-1]
    for now in np.arange(0.02, 1.6, 0.02):
        assert (
            monitor.on_state(resting if now > 1.0 else HOME + (resting - HOME) * now, REST, 0.0, now) is None
        )
    wrong = resting.copy()
    for joint, value in lie.items():
        wrong[joint] += value
    assert monitor.on_state(wrong, REST, 0.0, 1.61) is None
    stay = Knots(np.array([0.3]), resting[None], np.zeros((1, 7)), np.zeros((1, 7)))
    assert monitor.on_trajectory(stay, 0.0, 1.615) is None
    reaction = monitor.on_trajectory("has 0 points", 0.0, 1.62)
    assert reaction is not None and reaction.stop is not None
    assert np.max(np.abs(reaction.stop.positions[-1] - resting)) < 0.02


def test_a_jump_is_believed_when_several_states_in_a_row_say_so() -> None:
    """An arm that somebody moved while no state came: a stop begins where it is."""
    monitor = monitor_at()
    moved = HOME + np.array([0.5, 0, 0, 0, 0, 0, 0])
    for now in (0.02, 0.04, 0.06):
        monitor.on_state(moved, REST, 0.0, now)
    reaction = monitor.on_trajectory("has 0 points", 0.0, 0.07)
    assert reaction is not None and reaction.stop is not None
    assert np.allclose(reaction.stop.positions[-1], moved)


def test_the_same_wrong_state_said_again_is_not_believed() -> None:
    monitor = monitor_at()
    wrong = HOME + np.array([0.5, 0, 0, 0, 0, 0, 0])
    for repetition in range(5):
        monitor.on_state(wrong, REST, 0.002 * repetition, 0.02 + 0.002 * repetition)
    reaction = monitor.on_trajectory("has 0 points", 0.0, 0.04)
    assert reaction is not None and reaction.stop is not None
    assert np.allclose(reaction.stop.positions[-1], HOME)


def test_every_wild_trajectory_is_answered_but_an_episode_begins_once() -> None:
    monitor = monitor_at()
    wild = swing(size=2.0, seconds=0.3)
    reactions = [monitor.on_trajectory(wild, 0.0, now) for now in (0.0, 0.1, 0.2)]
    assert [reaction.begins for reaction in reactions if reaction is not None] == [True, False, False]
    assert all(reaction is not None and reaction.stop is not None for reaction in reactions)


def test_an_episode_ends_when_the_arm_rests_and_nothing_is_wrong() -> None:
    monitor = monitor_at()
    assert monitor.on_trajectory(swing(size=2.0, seconds=0.3), 0.0, 0.0) is not None
    assert run(monitor, 0.4, lambda now: HOME, lambda now: REST) == []
    assert monitor.wrong
    assert run(monitor, 0.4, lambda now: HOME, lambda now: REST, start=0.4) == []
    assert monitor.wrong == ""
    again = monitor.on_trajectory(swing(size=2.0, seconds=0.3), 0.0, 1.0)
    assert again is not None and again.begins


def test_a_stop_is_itself_a_trajectory_that_may_run() -> None:
    """So the controller's own stop after a hold is not answered by another one."""
    monitor = monitor_at()
    reaction = monitor.on_trajectory(swing(size=2.0, seconds=0.3), 0.0, 0.0)
    assert reaction is not None and reaction.stop is not None
    assert monitor.on_trajectory(reaction.stop, 0.0, 0.01) is None


def test_an_arm_that_nobody_commanded_gets_no_trajectory() -> None:
    """In shadow the monitor sends as little as the controller."""
    monitor = monitor_at()
    fast = np.array([0.0, 2.6, 0.0, 0.0, 0.0, 0.0, 0.0])
    [reaction] = run(monitor, 0.1, lambda now: HOME, lambda now: fast)
    assert reaction.stop is None
