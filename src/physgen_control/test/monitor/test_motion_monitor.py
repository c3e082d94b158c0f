# SPDX-License-Identifier: Apache-2.0
"""The motion monitor: what was planned is never stopped, what no planner would send always is."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from controller_rig import START_NS, make_config, make_state
from hypothesis import given, settings
from hypothesis import strategies as st

import physgen_control
from physgen_control.controller_config import NS_PER_S, ArmInterface, ControllerConfig, RobotType
from physgen_control.monitor.config import ArmLimits, MotionMonitorConfig
from physgen_control.monitor.monitor import MotionMonitor, Reaction
from physgen_control.monitor.segments import Knots, Segments, UnreadableTrajectoryError, read_knots
from physgen_control.motion.joint_path import JointTrajectory, quintic
from physgen_control.motion.kinematics import HOME, forward, joint_range, joint_top_speed
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import RobotState

LIMITS = ArmLimits(*joint_range(RobotType.FR3), joint_top_speed(RobotType.FR3))
CONFIG = MotionMonitorConfig()
NAMES = [f"fr3_joint{index}" for index in range(1, 8)]
REST = np.zeros(7)
PERIOD = 0.01


def controller(**changes: Any) -> ControllerConfig:
    return make_config(
        arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3, max_clipped_steps=8, **changes
    )


def measured(q: np.ndarray, stamp_ns: int) -> RobotState:
    return make_state(stamp_ns, forward(q), positions=np.array(q, np.float64))


def knots_of(trajectory: JointTrajectory) -> Knots:
    return Knots(trajectory.times, trajectory.positions, trajectory.velocities, trajectory.accelerations)


def monitor_at(q: np.ndarray = HOME, now: float = 0.0, **changes: Any) -> MotionMonitor:
    """A monitor that has seen the arm rest at `q` and the controller live."""
    monitor = MotionMonitor(replace(CONFIG, **changes), LIMITS)
    monitor.watch(now)
    monitor.on_status(now)
    assert monitor.on_state(q, REST, 0.0, now) is None
    return monitor


def swing(size: float = 0.1, seconds: float = 1.0, start: np.ndarray = HOME) -> Knots:
    """From rest to rest in five knots, joint 1 alone."""
    times = np.linspace(0.2, 1.0, 5) * seconds
    share = times / seconds
    position = np.tile(start, (5, 1))
    velocity, acceleration = np.zeros((5, 7)), np.zeros((5, 7))
    position[:, 0] += size * (10 * share**3 - 15 * share**4 + 6 * share**5)
    velocity[:, 0] = size * 30 * (share**2 - 2 * share**3 + share**4) / seconds
    acceleration[:, 0] = size * 60 * (share - 3 * share**2 + 2 * share**3) / seconds**2
    velocity[-1], acceleration[-1] = 0.0, 0.0
    return Knots(times, position, velocity, acceleration)


def message(knots: Knots, names: list[str] = NAMES) -> Any:
    """What read_knots reads of trajectory_msgs/JointTrajectory."""

    def duration(seconds: float) -> Any:
        whole = int(np.floor(seconds)) if np.isfinite(seconds) else 0
        return SimpleNamespace(sec=whole, nanosec=round((seconds - whole) * 1e9))

    accelerations = knots.accelerations
    return SimpleNamespace(
        joint_names=names,
        points=[
            SimpleNamespace(
                positions=knots.positions[index],
                velocities=knots.velocities[index],
                accelerations=[] if accelerations is None else accelerations[index],
                time_from_start=duration(float(knots.times[index])),
            )
            for index in range(len(knots.times))
        ],
    )


def sentence_of(knots: Knots, q: np.ndarray = HOME, **changes: Any) -> str:
    """What the monitor says of a trajectory sent to an arm at rest; empty when nothing."""
    reaction = monitor_at(q, **changes).on_trajectory(knots, 0.0, 0.0)
    return "" if reaction is None else reaction.sentence


# --- the second evaluation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_second_evaluation_agrees_with_the_first(seed: int) -> None:
    """Written apart and compared only here: the two say the same of any quintic."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.005, 0.4, 9))
    parts = (rng.normal(size=(9, 7)), rng.normal(size=(9, 7)), rng.normal(size=(9, 7)))
    segments = Segments(Knots(times, *parts))
    at = rng.uniform(times[0], times[-1], 200)
    mine = [np.stack(rows) for rows in zip(*(segments.at(time) for time in at), strict=True)]
    for one, other in zip(mine, quintic(times, parts, at)[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7)


def test_a_cubic_has_its_knots_positions_and_velocities() -> None:
    knots = replace(swing(), accelerations=None)
    segments = Segments(knots)
    for index, time in enumerate(knots.times[:-1]):
        position, velocity, _ = segments.at(float(time))
        np.testing.assert_allclose(position, knots.positions[index], atol=1e-12)
        np.testing.assert_allclose(velocity, knots.velocities[index], atol=1e-12)


def test_samples_are_as_dense_as_the_arms_control_cycle() -> None:
    knots = swing(seconds=0.5)
    position, _, _ = Segments(knots).samples()
    assert len(position) >= (knots.times[-1] - knots.times[0]) / 0.001


def test_the_monitor_shares_no_code_path_with_what_plans() -> None:
    files = sorted((Path(physgen_control.__file__).parent / "monitor").glob("*.py"))
    assert len(files) >= 4
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("physgen_control."):
                room = str(node.module).split(".")[1]
                assert room in ("monitor", "program", "types"), f"{file.name}: {node.module}"


# --- what was planned is never stopped ----------------------------------------------------------------------------


class Arm:
    """Follows what a joint trajectory controller makes of a trajectory, and shows it to a monitor at 100 Hz."""

    def __init__(self, planner: TrajectoryPlanner, monitor: MotionMonitor, period: float = PERIOD) -> None:
        self._planner, self._monitor, self._period = planner, monitor, period
        self._shown_ns = START_NS
        self.reactions: list[Reaction | None] = []

    def until(self, now_ns: int) -> None:
        """Show states and a living controller, by what the planner itself says that it commands."""
        step_ns = round(self._period * NS_PER_S)
        while self._shown_ns + step_ns <= now_ns:
            self._shown_ns += step_ns
            now = self._shown_ns / NS_PER_S
            position, velocity, _ = self._planner.command(self._shown_ns)
            self._monitor.on_status(now)
            self.reactions.append(self._monitor.on_state(position, velocity, 0.0, now))
            self.reactions.append(self._monitor.watch(now))

    def send(self, trajectory: JointTrajectory, arrival_ns: int) -> None:
        lead = (trajectory.start_ns - arrival_ns) / NS_PER_S
        self.reactions.append(self._monitor.on_trajectory(knots_of(trajectory), lead, arrival_ns / NS_PER_S))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.002, 0.006, 0.012, 0.03]),
    fraction=st.sampled_from([0.1, 0.25, 1.0]),
    delay_ms=st.integers(0, 25),
)
def test_what_the_planner_sends_is_never_stopped(
    seed: int, size: float, fraction: float, delay_ms: int
) -> None:
    """Chunks after rest, in the middle of the one before, and stops, each some milliseconds late."""
    rng = np.random.default_rng(seed)
    planner = TrajectoryPlanner(controller(joint_speed_fraction=fraction))
    monitor = monitor_at(HOME, START_NS / NS_PER_S)
    arm = Arm(planner, monitor)
    now_ns, sent = START_NS, 0
    for _ in range(8):
        known = sent > 0
        q = planner.command(now_ns)[0] if known else HOME
        try:
            if known and rng.random() < 0.2:
                planner.stop(None, now_ns)
            else:
                steps = int(rng.integers(1, 9))
                planner.plan(
                    rng.uniform(-size, size, (steps, 6)).astype(np.float32), measured(q, now_ns), now_ns
                )
        except PlanRefusedError:
            pass
        trajectory = planner.take()
        if trajectory is not None:
            sent += 1
            arm.send(trajectory, now_ns + delay_ms * 1_000_000)
        now_ns += int(rng.integers(26, 900)) * 1_000_000
        if sent:
            arm.until(now_ns)
    assert [reaction.sentence for reaction in arm.reactions if reaction is not None] == []
    assert monitor.wrong == ""


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), missed=st.integers(1, 3), period=st.sampled_from([PERIOD, 0.08]))
def test_a_monitor_that_comes_late_stops_nothing_that_was_planned(
    seed: int, missed: int, period: float
) -> None:
    """It was started again, or discovered the controller late: the arm moves by trajectories that it never saw."""
    rng = np.random.default_rng(seed)
    planner = TrajectoryPlanner(controller(joint_speed_fraction=1.0))
    monitor = MotionMonitor(CONFIG, LIMITS)
    arm = Arm(planner, monitor, period)
    now_ns, sent = START_NS, 0
    for _ in range(missed + 4):
        q = planner.command(now_ns)[0] if sent else HOME
        motions = rng.uniform(-0.01, 0.01, (8, 6)).astype(np.float32)
        try:
            planner.plan(motions, measured(q, now_ns), now_ns)
        except PlanRefusedError:
            continue
        trajectory = planner.take()
        assert trajectory is not None
        sent += 1
        if sent > missed:
            arm.send(trajectory, now_ns + 3_000_000)
        now_ns += int(rng.integers(26, 350)) * 1_000_000
        arm.until(now_ns)
    assert sent > missed
    assert [reaction.sentence for reaction in arm.reactions if reaction is not None] == []


def test_settling_on_the_measured_joints_is_never_stopped() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        q = np.clip(HOME + rng.normal(0.0, 0.5, 7), LIMITS.lower, LIMITS.upper)
        planner = TrajectoryPlanner(controller())
        planner.restart(measured(q, START_NS), START_NS)
        trajectory = planner.take()
        assert trajectory is not None
        monitor = monitor_at(q, START_NS / NS_PER_S)
        assert monitor.on_trajectory(knots_of(trajectory), 0.0, START_NS / NS_PER_S) is None


# --- what no planner would send always is -------------------------------------------------------------------------


def planned(seed: int) -> Knots:
    """An accepted trajectory from HOME that moves."""
    rng = np.random.default_rng(seed)
    while True:
        planner = TrajectoryPlanner(controller())
        try:
            planner.plan(
                rng.uniform(-0.006, 0.006, (8, 6)).astype(np.float32), measured(HOME, START_NS), START_NS
            )
        except PlanRefusedError:
            continue
        trajectory = planner.take()
        assert trajectory is not None
        return knots_of(trajectory)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_trajectory_scaled_by_three_is_stopped(seed: int) -> None:
    knots = planned(seed)
    assert sentence_of(knots) == ""
    assert sentence_of(replace(knots, positions=3.0 * knots.positions)) != ""


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.1, 3.0), data=st.data())
def test_a_trajectory_with_a_step_is_stopped(seed: int, size: float, data: Any) -> None:
    """A knot and all after it are elsewhere, whichever knot and joint."""
    knots = planned(seed)
    index = data.draw(st.integers(0, len(knots.times) - 1))
    joint = data.draw(st.integers(0, 6))
    positions = knots.positions.copy()
    positions[index:, joint] += size * data.draw(st.sampled_from([-1.0, 1.0]))
    assert sentence_of(replace(knots, positions=positions)) != ""


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_a_trajectory_with_a_number_that_is_none_is_stopped(seed: int, data: Any) -> None:
    knots = planned(seed)
    field = data.draw(st.sampled_from(["positions", "velocities", "accelerations"]))
    values = getattr(knots, field).copy()
    place = (data.draw(st.integers(0, len(values) - 1)), data.draw(st.integers(0, 6)))
    values[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    spoilt = message(replace(knots, **{field: values}))
    with pytest.raises(UnreadableTrajectoryError, match="not finite"):
        read_knots(spoilt.joint_names, spoilt.points)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_a_trajectory_with_knots_in_the_wrong_order_is_stopped(seed: int, data: Any) -> None:
    knots = planned(seed)
    one, other = sorted(
        data.draw(st.lists(st.integers(0, len(knots.times) - 1), min_size=2, max_size=2, unique=True))
    )
    times = knots.times.copy()
    times[one], times[other] = times[other], times[one]
    assert "times" in sentence_of(replace(knots, times=times))


def test_a_trajectory_that_does_not_end_at_rest_is_stopped() -> None:
    knots = swing()
    velocities = knots.velocities.copy()
    velocities[-1, 3] = 0.01
    assert "rest" in sentence_of(replace(knots, velocities=velocities))


def test_an_overshoot_between_innocent_knots_is_seen() -> None:
    """Every knot is within all limits; what lies between two of them is not."""
    knots = swing(size=0.0)
    velocities = knots.velocities.copy()
    velocities[2, 0] = 1.0  # [rad/s] at a place where the arm should stand
    assert "accelerates joint 1" in sentence_of(replace(knots, velocities=velocities))


def test_too_fast_for_the_data_sheet_is_seen() -> None:
    assert "rad/s, allowed" in sentence_of(swing(size=2.0, seconds=1.3), acceleration_limit=20.0)
    assert sentence_of(swing(size=0.5, seconds=1.3)) == ""


def test_a_trajectory_that_cannot_be_read_is_stopped() -> None:
    good = swing()
    unreadable = {
        "names 6 of": message(good, NAMES[:6]),
        "twice": message(good, [*NAMES[:6], "fr3_joint1"]),
        "names 8 joints": message(good, [*NAMES, "gantry"]),
        "has 0 points": SimpleNamespace(joint_names=NAMES, points=[]),
        "7 positions": message(replace(good, positions=good.positions[:, :6])),
        "7 velocities": message(replace(good, velocities=np.zeros((5, 0)))),
    }
    for words, spoilt in unreadable.items():
        with pytest.raises(UnreadableTrajectoryError, match=words):
            read_knots(spoilt.joint_names, spoilt.points)
    reaction = monitor_at().on_trajectory("has 0 points", 0.0, 0.0)
    assert reaction is not None and reaction.stop is not None


def test_joints_are_found_by_name_in_any_order() -> None:
    shuffled = [3, 0, 6, 1, 5, 2, 4]
    given = swing()
    parts = (given.positions, given.velocities, given.accelerations)
    mixed = Knots(given.times, *(part[:, shuffled] for part in parts if part is not None))
    read = read_knots([NAMES[index] for index in shuffled], message(mixed).points)
    np.testing.assert_allclose(read.positions, given.positions)


def test_a_trajectory_that_began_too_long_ago_is_a_step() -> None:
    """The arm's controller enters it where it would be by now."""
    knots = swing(size=0.3)
    assert monitor_at().on_trajectory(knots, -0.02, 0.0) is None
    reaction = monitor_at().on_trajectory(knots, -0.5, 0.0)
    assert reaction is not None and "step" in reaction.sentence


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
