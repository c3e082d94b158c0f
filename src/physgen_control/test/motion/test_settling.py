# SPDX-License-Identifier: Apache-2.0
"""Arming: the command first settles on the measured joints, and a stop on the way suits an arm held anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from controller_rig import PERIOD_NS, START_NS
from planner_rig import (
    assert_within_limits,
    config,
    forward_motion,
    settling,
    state,
)

from physgen_control.controller.core import PlanRefusedError
from physgen_control.motion.commanded_motion import excess
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S


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


def test_a_stop_that_would_take_longer_than_the_settle_is_not_sent() -> None:
    """The shortest stop takes a quarter of a second: within the last one the arm rests sooner by itself."""
    for before_s, sent in ((0.24, False), (0.45, True)):
        planner, _, began_ns = settling()
        settles_ns = began_ns
        while planner.active(settles_ns):
            settles_ns += PERIOD_NS // 50
        now_ns = settles_ns - round(before_s * NS_PER_S)
        planner.stop(None, now_ns)
        stop = planner.take()
        assert (stop is not None) == sent
        assert stop is None or now_ns + stop.times[-1] * NS_PER_S <= settles_ns


def test_of_two_stops_amid_a_settle_the_second_is_not_sent() -> None:
    """The first began at the command or at the measured joints, nobody knows: what runs is checked and ends at rest."""
    planner, _, began_ns = settling()
    planner.stop(None, began_ns + 2 * PERIOD_NS)
    assert planner.take() is not None
    planner.stop(None, began_ns + 3 * PERIOD_NS)
    assert planner.take() is None
