# SPDX-License-Identifier: Apache-2.0
"""Trajectories that came too late: begun later from rest, withdrawn without a trace in motion."""

from __future__ import annotations

import numpy as np
from controller_rig import PERIOD_NS, START_NS
from planner_rig import (
    REST,
    assert_ends_at_rest,
    at,
    config,
    forward_motion,
    state,
)

from physgen_control.motion.kinematics import HOME
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S


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
