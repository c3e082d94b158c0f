# SPDX-License-Identifier: Apache-2.0
"""Trajectories of accepted chunks: within joint limits at 1 kHz, at rest at the end, continuous over replacements."""

from __future__ import annotations

import numpy as np
import pytest
from controller_rig import PERIOD_NS, START_NS
from planner_rig import (
    REST,
    assert_ends_at_rest,
    assert_within_limits,
    at,
    config,
    forward_motion,
    settling,
    state,
)

from physgen_control.controller.core import PlanRefusedError
from physgen_control.motion import kinematics
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S, AckResult, Limit

CHUNKS = 200


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


def test_a_chunk_is_made_smaller_never_larger_and_the_flag_says_so() -> None:
    """Short smoothing asks for accelerations that the joints have not: a share of the motion is done."""
    rng = np.random.default_rng(3)
    shares = set()
    for number in range(60):
        size = (0.0002, 0.001, 0.003)[number % 3]
        planner = TrajectoryPlanner(
            config(max_clipped_steps=8, smoothing_time=0.08, smoothing_time_jerk=0.05)
        )
        motions = rng.uniform(-size, size, (8, 6)).astype(np.float32)
        steps = planner.plan(motions, state(), START_NS)
        asked = np.linalg.norm(motions, axis=1)
        done = np.array([np.linalg.norm(step.motion) for step in steps]) / asked
        np.testing.assert_allclose(done, done[0], rtol=1e-4)
        shares.add(round(float(done[0]), 3))
        assert {step.limits for step in steps} == {Limit.ACCEL if done[0] < 0.99 else Limit.NONE}
    assert shares == {1.0, 0.8, 0.6, 0.3}


def test_no_knot_comes_sooner_than_a_message_may_take() -> None:
    """From rest the first knot is where the first step ends; a replacement's may be sooner, but not than 60 ms."""
    planner = TrajectoryPlanner(config())
    motions = np.tile(np.array([0.004, 0, 0, 0, 0, 0], np.float32), (8, 1))
    planner.plan(motions, state(), START_NS)
    planner.take()
    firsts = []
    for millisecond in range(1, 200):
        now_ns = START_NS + millisecond * 1_000_000
        again = TrajectoryPlanner(config())
        again.plan(motions, state(), START_NS)
        again.take()
        again.plan(motions, state(again.command(now_ns)[0], now_ns), now_ns)
        trajectory = again.take()
        assert trajectory is not None
        firsts.append(float(trajectory.times[0]))
    assert 0.06 <= min(firsts) < 0.07


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


def test_a_stretched_arm_refuses_to_stretch_farther() -> None:
    """The distance of the wrist from the shoulder is joint 4's alone."""
    planner = TrajectoryPlanner(config(workspace_max=(2, 2, 2), workspace_min=(-2, -2, -2), tilt_limit=3.15))
    elbow = planner.limits.upper[3] - 0.1
    q = np.array([0.0, 0.3, 0.0, elbow, 0.0, 1.8, np.pi / 4])
    outwards = np.tile(np.array([0.005, 0, 0.01, 0, 0, 0], np.float32), (8, 1))
    with pytest.raises(PlanRefusedError, match=r"Action 0: .*\.$") as caught:
        planner.plan(outwards, state(q), START_NS)
    assert caught.value.result in (AckResult.JOINT_LIMIT, AckResult.IK)


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
