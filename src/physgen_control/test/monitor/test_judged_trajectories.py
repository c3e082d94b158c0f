# SPDX-License-Identifier: Apache-2.0
"""Trajectories before the motion monitor: what was planned is never stopped, what no planner would send always is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from controller_rig import START_NS, make_config, make_state
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_rig import CONFIG, LIMITS, PERIOD, monitor_at, swing

from physgen_control.controller_config import ArmInterface, ControllerConfig, RobotType
from physgen_control.monitor.monitor import MotionMonitor, Reaction
from physgen_control.monitor.segments import Knots, UnreadableTrajectoryError, read_knots
from physgen_control.motion.joint_path import JointTrajectory
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S, RobotState

NAMES = [f"fr3_joint{index}" for index in range(1, 8)]


def controller(**changes: Any) -> ControllerConfig:
    return make_config(
        arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3, max_clipped_steps=8, **changes
    )


def measured(q: np.ndarray, stamp_ns: int) -> RobotState:
    return make_state(stamp_ns, forward(q), positions=np.array(q, np.float64))


def knots_of(trajectory: JointTrajectory) -> Knots:
    return Knots(trajectory.times, trajectory.positions, trajectory.velocities, trajectory.accelerations)


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
