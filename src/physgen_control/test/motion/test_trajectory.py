# SPDX-License-Identifier: Apache-2.0
"""Trajectories of accepted chunks: within joint limits at 1 kHz, at rest at the end, continuous over replacements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controller_rig import PERIOD_NS, START_NS, Rig, make_actions, make_config, make_state

from physgen_control.controller.core import PlanRefusedError
from physgen_control.controller_config import ArmInterface, ControllerConfig, Mode, RobotType
from physgen_control.motion import kinematics
from physgen_control.motion.commanded_motion import excess
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.trajectory import (
    SAMPLE_PERIOD,
    JointTrajectory,
    TrajectoryPlanner,
    sample_quintic,
)
from physgen_control.types import NS_PER_S, AckResult, Fault, Limit, RobotState, SafetyState, Source

SLACK = 1 + 1e-5
CHUNKS = 200


def config(**changes: Any) -> ControllerConfig:
    return make_config(arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3, **changes)


def state(q: np.ndarray = HOME, stamp_ns: int = START_NS) -> RobotState:
    return make_state(stamp_ns, forward(q), positions=np.array(q, np.float64))


Start = tuple[np.ndarray, np.ndarray, np.ndarray]
REST: Start = (HOME, np.zeros(7), np.zeros(7))


def assert_within_limits(planner: TrajectoryPlanner, trajectory: JointTrajectory, start: Start) -> None:
    position, velocity, acceleration, jerk = sample_quintic(trajectory, start, SAMPLE_PERIOD)
    limits = planner.limits
    assert np.all(position >= limits.lower) and np.all(position <= limits.upper)
    assert np.all(np.abs(velocity) <= limits.velocity * SLACK)
    assert np.all(np.abs(acceleration) <= limits.acceleration * SLACK)
    assert np.all(np.abs(jerk) <= limits.jerk * SLACK)


def assert_ends_at_rest(trajectory: JointTrajectory) -> None:
    assert np.all(np.diff(trajectory.times) > 0)
    assert not trajectory.velocities[-1].any() and not trajectory.accelerations[-1].any()


def at(trajectory: JointTrajectory, start: Start, seconds: float) -> Start:
    """What a joint trajectory controller commands at a time after the trajectory's start."""
    samples = sample_quintic(trajectory, start, SAMPLE_PERIOD)
    index = min(round(seconds / SAMPLE_PERIOD), len(samples[0]) - 1)
    return samples[0][index], samples[1][index], samples[2][index]


def test_random_chunks_keep_every_limit_and_end_at_rest() -> None:
    rng = np.random.default_rng(1)
    accepted = 0
    for _ in range(CHUNKS):
        planner = TrajectoryPlanner(config(max_clipped_steps=8))
        size = rng.choice([0.002, 0.006, 0.012])
        motions = rng.uniform(-size, size, (int(rng.integers(1, 9)), 6)).astype(np.float32)
        try:
            steps = planner.plan(motions, state(), START_NS)
        except PlanRefusedError:
            continue
        accepted += 1
        trajectory = planner.take()
        assert trajectory is not None and len(steps) == len(motions)
        assert_within_limits(planner, trajectory, REST)
        assert_ends_at_rest(trajectory)
        np.testing.assert_allclose(trajectory.positions[-1], steps[-1].positions, atol=1e-12)
        assert planner.take() is None
    assert accepted > CHUNKS * 0.9


def test_a_replacement_continues_position_velocity_and_acceleration() -> None:
    rng = np.random.default_rng(2)
    planner = TrajectoryPlanner(config(max_clipped_steps=8))
    now_ns, start, running = START_NS, REST, None
    replaced = 0
    for _ in range(40):
        if running is not None:
            wait_ns = int(rng.integers(1, 12)) * PERIOD_NS
            start = at(running, start, wait_ns / NS_PER_S)
            now_ns += wait_ns
        motions = rng.uniform(-0.004, 0.004, (8, 6)).astype(np.float32)
        try:
            planner.plan(motions, state(start[0], now_ns), now_ns)
        except PlanRefusedError:
            break
        trajectory = planner.take()
        assert trajectory is not None
        replaced += running is not None
        command = planner.command(now_ns)
        for ours, theirs, atol in zip(command, start, (1e-3, 2e-2, 0.5), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=atol)
        assert_within_limits(planner, trajectory, command)
        assert_ends_at_rest(trajectory)
        start, running = command, trajectory
    assert replaced >= 10


def test_the_path_itself_is_continuous_over_a_replacement() -> None:
    planner = TrajectoryPlanner(config())
    motions = np.tile(np.array([0.004, 0, 0, 0, 0, 0], np.float32), (8, 1))
    planner.plan(motions, state(), START_NS)
    now_ns = START_NS + 5 * PERIOD_NS
    before = planner.command(now_ns)
    assert np.abs(before[1]).max() > 0.01  # it moves
    planner.plan(-motions, state(before[0], now_ns), now_ns)
    after = planner.command(now_ns)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-9)


def test_stop_comes_to_rest_within_the_smoothing_windows() -> None:
    planner = TrajectoryPlanner(config())
    planner.plan(np.tile(np.array([0.01, 0, 0, 0, 0, 0], np.float32), (8, 1)), state(), START_NS)
    planner.take()
    now_ns = START_NS + 4 * PERIOD_NS
    start = planner.command(now_ns)
    planner.stop(None, now_ns)
    trajectory = planner.take()
    assert trajectory is not None
    assert trajectory.times[-1] <= 0.15 + 0.10 + 0.05 + 1e-9
    assert_within_limits(planner, trajectory, start)
    assert_ends_at_rest(trajectory)


def test_a_straight_line_goes_where_the_chunk_says() -> None:
    planner = TrajectoryPlanner(config())
    motions = np.tile(np.array([0.004, -0.002, 0.001, 0, 0, 0.005], np.float32), (8, 1))
    steps = planner.plan(motions, state(), START_NS)
    trajectory = planner.take()
    assert trajectory is not None
    reached = forward(trajectory.positions[-1]).position - forward(HOME).position
    np.testing.assert_allclose(reached, sum(step.motion[:3].astype(float) for step in steps), atol=1e-5)
    # Slowed for the joints' sake or not, the direction stays.
    cosine = reached @ motions[0, :3] / (np.linalg.norm(reached) * np.linalg.norm(motions[0, :3]))
    assert cosine == pytest.approx(1.0, abs=1e-6)


def test_targets_end_at_the_wall_of_the_box() -> None:
    wall = float(forward(HOME).position[0]) + 0.02
    planner = TrajectoryPlanner(config(workspace_max=(wall, 0.45, 0.70), max_clipped_steps=8))
    motions = np.tile(np.array([0.004, 0, 0, 0, 0, 0], np.float32), (8, 1))
    steps = planner.plan(motions, state(), START_NS)
    assert all(step.target_pose.position[0] <= wall + 1e-6 for step in steps)
    assert steps[-1].limits & Limit.WORKSPACE


def test_the_core_sends_one_trajectory_per_chunk_and_stops_when_the_arm_does_not_follow() -> None:
    cfg = config()
    rig = Rig(
        planner=TrajectoryPlanner(cfg), arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3
    )
    rig.core.on_publisher_count(1)
    rig.core.on_state(state(), rig.now_ns)
    assert rig.core.arm()[0]
    ack = rig.send(episode_id="", data=make_actions(size=0.003))
    assert (
        ack.result == AckResult.NOT_ARMED and "settles" in ack.detail
    )  # its controller may hold another pose
    settling = rig.core.take_trajectory()
    np.testing.assert_array_equal(settling.positions, HOME[None])
    rig.now_ns += round(settling.times[-1] * NS_PER_S)
    rig.core.on_state(state(stamp_ns=rig.now_ns), rig.now_ns)
    ack = rig.send(episode_id="", data=make_actions(size=0.003))
    assert ack.result == AckResult.ACCEPTED, ack.detail
    first = rig.core.take_trajectory()
    assert first is not None and rig.core.take_trajectory() is None
    for index in range(8):
        rig.now_ns += PERIOD_NS
        planned = at(first, REST, (index + 1) * PERIOD_NS / NS_PER_S)[0]
        rig.core.on_state(state(planned, rig.now_ns), rig.now_ns)
        action = rig.tick()
        assert action is not None and action.source == Source.POLICY
        assert np.all(np.isfinite(action.target_positions))
    for away in (0.14, 0.28):  # no faster than a joint can be
        rig.now_ns += PERIOD_NS
        rig.core.on_state(state(HOME + away, rig.now_ns), rig.now_ns)
        held = rig.tick()
    assert held is not None and held.source == Source.HOLD
    assert rig.core.status.faults & Fault.TRACKING
    assert rig.core.state == SafetyState.HOLD


def test_shadow_sends_no_trajectory() -> None:
    rig = Rig(
        planner=TrajectoryPlanner(config()),
        arm_interface=ArmInterface.JOINT_TRAJECTORY,
        robot_type=RobotType.FR3,
        mode=Mode.SHADOW,
    )
    rig.core.on_publisher_count(1)
    rig.core.on_state(state(), rig.now_ns)
    assert rig.core.arm()[0]
    assert rig.send(episode_id="", data=make_actions(size=0.003)).result == AckResult.SHADOW
    assert rig.core.take_trajectory() is None


def test_a_stretched_arm_refuses_to_stretch_farther() -> None:
    """The distance of the wrist from the shoulder is joint 4's alone."""
    planner = TrajectoryPlanner(config(workspace_max=(2, 2, 2), workspace_min=(-2, -2, -2), tilt_limit=3.15))
    elbow = planner.limits.upper[3] - 0.1
    q = np.array([0.0, 0.3, 0.0, elbow, 0.0, 1.8, np.pi / 4])
    outwards = np.tile(np.array([0.005, 0, 0.01, 0, 0, 0], np.float32), (8, 1))
    with pytest.raises(PlanRefusedError, match=r"Action 0: .*\.$") as caught:
        planner.plan(outwards, state(q), START_NS)
    assert caught.value.result in (AckResult.JOINT_LIMIT, AckResult.IK)


def forward_motion(size: float = 0.01) -> np.ndarray:
    return np.tile(np.array([size, 0, 0, 0, 0, 0], np.float32), (8, 1))


def test_a_late_trajectory_from_rest_starts_later_and_one_in_motion_is_withdrawn() -> None:
    """A busy process must not make the arm's command jump."""
    planner = TrajectoryPlanner(config())
    planner.plan(forward_motion(), state(), START_NS)
    first = planner.take()
    late_ns = START_NS + 200_000_000
    postponed = planner.postpone(late_ns)
    assert first is not None and postponed is not None and postponed.start_ns == late_ns
    np.testing.assert_array_equal(postponed.positions, first.positions)
    np.testing.assert_array_equal(planner.command(late_ns)[0], HOME)

    moving_ns = late_ns + 4 * PERIOD_NS
    command = planner.command(moving_ns)
    assert np.abs(command[1]).max() > 0.01
    planner.plan(forward_motion(0.004), state(command[0], moving_ns), moving_ns)
    planner.take()
    assert planner.postpone(moving_ns + 100_000_000) is None
    before = [part.copy() for part in at(postponed, REST, 6 * PERIOD_NS / NS_PER_S)]
    planner.withdraw(None, moving_ns + 2 * PERIOD_NS)
    for ours, theirs in zip(planner.command(moving_ns + 2 * PERIOD_NS), before, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)  # it follows the one before
    stop = planner.take()
    assert stop is not None
    assert_ends_at_rest(stop)


def test_arming_settles_on_the_measured_joints_first() -> None:
    planner = TrajectoryPlanner(config())
    planner.plan(forward_motion(0.002), state(), START_NS)
    planner.take()
    now_ns = START_NS + 2 * NS_PER_S
    rest = planner.command(now_ns)[0]
    planner.restart(state(rest + 0.005, now_ns), now_ns)
    assert planner.take() is None  # near enough: the command goes on
    pushed = rest.copy()
    pushed[1] += 0.15
    with pytest.raises(PlanRefusedError, match="arm again"):
        planner.plan(forward_motion(0.002), state(pushed, now_ns), now_ns)
    planner.restart(state(pushed, now_ns), now_ns)
    settling = planner.take()
    assert settling is not None
    assert_within_limits(planner, settling, (rest, np.zeros(7), np.zeros(7)))
    np.testing.assert_array_equal(settling.positions[-1], pushed)
    with pytest.raises(PlanRefusedError, match="settles"):
        planner.plan(forward_motion(0.002), state(pushed, now_ns), now_ns)
    settled_ns = now_ns + round(settling.times[-1] * NS_PER_S)
    planner.plan(forward_motion(0.002), state(pushed, settled_ns), settled_ns)


def test_a_stop_while_settling_suits_an_arm_controller_that_was_activated_anew() -> None:
    """Whether it begins at the command of before or at the measured joints is not known: both keep the limits."""
    planner = TrajectoryPlanner(config())
    planner.plan(forward_motion(0.002), state(), START_NS)
    planner.take()
    now_ns = START_NS + 2 * NS_PER_S
    elsewhere = planner.command(now_ns)[0]
    elsewhere[3] += 0.1
    planner.restart(state(elsewhere, now_ns), now_ns)
    assert planner.take() is not None
    now_ns += 2 * PERIOD_NS
    command = planner.command(now_ns)
    planner.stop(state(elsewhere, now_ns), now_ns)
    stop = planner.take()
    assert stop is not None
    for start in (command, (elsewhere, np.zeros(7), np.zeros(7))):
        assert not excess(stop, start, planner.limits)


def test_settling_after_the_arm_was_moved_far_assumes_nothing_of_its_controller() -> None:
    """Activated anew it holds the measured joints: a stop from the old command would make the arm jump there."""
    planner = TrajectoryPlanner(config())
    planner.plan(forward_motion(0.002), state(), START_NS)
    planner.take()
    now_ns = START_NS + 2 * NS_PER_S
    elsewhere = planner.command(now_ns)[0]
    elsewhere[1] += 1.0
    planner.restart(state(elsewhere, now_ns), now_ns)
    assert planner.take() is not None
    now_ns += PERIOD_NS
    assert planner.tracking_error(state(elsewhere, now_ns)) == 0.0
    assert planner.tracking_error(state(planner.command(now_ns)[0], now_ns)) == 0.0
    beyond = elsewhere.copy()
    beyond[1] += 0.3
    assert planner.tracking_error(state(beyond, now_ns)) == pytest.approx(0.3)
    planner.stop(state(elsewhere, now_ns), now_ns)
    assert planner.take() is None


def test_out_of_a_singularity_is_allowed_and_farther_in_is_not() -> None:
    wide = {"workspace_max": (2, 2, 2), "workspace_min": (-2, -2, -2), "tilt_limit": 3.15}
    planner = TrajectoryPlanner(config(joint_margin=0.0, **wide))
    # Elbow aside until the shoulder is singular: seen with a clamped elbow near the base.
    q = np.array([1.31, -0.04, -1.40, -2.66, -0.09, 2.65, 0.61])
    assert kinematics.smallest_singular_value(q) < 0.02
    refusals = []
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        motion = np.zeros((1, 6), np.float32)
        motion[0, :3] = 0.003 * direction
        planner.set_shadow(False)
        try:
            [step] = planner.plan(motion, state(q), START_NS)
        except PlanRefusedError as error:
            refusals.append(str(error))
        else:
            assert kinematics.smallest_singular_value(step.positions) >= kinematics.smallest_singular_value(q)
    assert 0 < len(refusals) < 6
    assert all("singular" in refusal for refusal in refusals)


# --- what is forgotten and what goes on ---------------------------------------------------------------------------


def settling(away: float = 0.1) -> tuple[TrajectoryPlanner, np.ndarray, int]:
    """A planner that moved, rested, and settles since `now` on an elbow that was pushed."""
    planner = TrajectoryPlanner(config())
    planner.plan(forward_motion(0.002), state(), START_NS)
    now_ns = START_NS + 2 * NS_PER_S
    pushed = planner.command(now_ns)[0].copy()
    pushed[3] += away
    planner.restart(state(pushed, now_ns), now_ns)
    planner.take()
    return planner, pushed, now_ns


def test_after_a_stop_while_settling_chunks_go_on_from_where_the_arm_stopped_as_soon_as_it_rests() -> None:
    planner, pushed, began_ns = settling()
    now_ns = began_ns + 2 * PERIOD_NS
    planner.stop(None, now_ns)
    stop = planner.take()
    assert stop is not None and now_ns + stop.times[-1] * NS_PER_S < began_ns + 0.6 * NS_PER_S
    end = stop.positions[-1]
    assert np.abs(end - pushed).max() > 0.05
    rest_ns = now_ns + round(stop.times[-1] * NS_PER_S)
    with pytest.raises(PlanRefusedError, match="settles"):
        planner.plan(forward_motion(0.002), state(end, rest_ns - 1), rest_ns - 1)
    step = planner.plan(forward_motion(0.002), state(end, rest_ns), rest_ns)[0]
    assert np.abs(step.positions - end).max() < 0.02


def test_each_knot_has_a_position_a_velocity_and_an_acceleration() -> None:
    arming, chunk, (stop, _, began_ns) = TrajectoryPlanner(config()), TrajectoryPlanner(config()), settling()
    arming.restart(state(), START_NS)
    chunk.plan(forward_motion(), state(), START_NS)
    stop.stop(None, began_ns + 2 * PERIOD_NS)
    for planner in (arming, chunk, stop):
        trajectory = planner.take()
        assert trajectory is not None
        shape = (len(trajectory.times), 7)
        for values in (trajectory.positions, trajectory.velocities, trajectory.accelerations):
            assert values.shape == shape


def test_a_withdrawn_trajectory_leaves_no_trace() -> None:
    """The arm stops where it would have stopped if the chunk had never come, and goes on from there."""
    now_ns = START_NS + 4 * PERIOD_NS
    plain, withdrawn = TrajectoryPlanner(config()), TrajectoryPlanner(config())
    for planner in (plain, withdrawn):
        planner.plan(forward_motion(0.004), state(), START_NS)
    command = withdrawn.command(now_ns)[0]
    withdrawn.plan(-forward_motion(0.004), state(command, now_ns), now_ns)
    later_ns = now_ns + 2 * PERIOD_NS
    withdrawn.withdraw(None, later_ns)
    plain.stop(None, later_ns)
    stops = [planner.take() for planner in (plain, withdrawn)]
    assert stops[0] is not None and stops[1] is not None
    np.testing.assert_array_equal(stops[0].positions, stops[1].positions)
    np.testing.assert_array_equal(stops[0].times, stops[1].times)


def test_a_postponed_trajectory_that_is_withdrawn_leaves_the_arm_at_rest() -> None:
    """Its first version, which would have begun earlier, was not sent either."""
    planner = TrajectoryPlanner(config())
    planner.restart(state(), START_NS)
    now_ns = START_NS + NS_PER_S
    planner.plan(forward_motion(), state(stamp_ns=now_ns), now_ns)
    assert planner.postpone(now_ns + PERIOD_NS) is not None
    planner.withdraw(None, now_ns + 2 * PERIOD_NS)
    for periods in range(2, 20):
        np.testing.assert_array_equal(planner.command(now_ns + periods * PERIOD_NS)[0], HOME)
    assert planner.take() is None and not planner.active(now_ns + 2 * PERIOD_NS)


def test_a_refusal_says_by_its_code_whether_a_joints_range_ends() -> None:
    wide = {"workspace_max": (2, 2, 2), "workspace_min": (-2, -2, -2), "tilt_limit": 3.15}
    stretched = np.array([0.0, 0.3, 0.0, -0.5226, 0.0, 1.8, np.pi / 4])  # the elbow at its margin
    aside = np.array([1.31, -0.04, -1.40, -2.66, -0.09, 2.65, 0.61])  # the shoulder nearly singular
    for joints, margin, words, result in (
        (stretched, 0.1, "beyond its position limit", AckResult.JOINT_LIMIT),
        (aside, 0.0, "singular", AckResult.IK),
    ):
        planner = TrajectoryPlanner(config(joint_margin=margin, **wide))
        with pytest.raises(PlanRefusedError, match=words) as caught:
            planner.plan(forward_motion(0.005), state(joints), START_NS)
        assert caught.value.result is result
