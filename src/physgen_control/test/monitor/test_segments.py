# SPDX-License-Identifier: Apache-2.0
"""The monitor's own evaluation of a trajectory: it says what the planner's says, and hides nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from monitor_rig import swing

from physgen_control.monitor.segments import Knots, Segments
from physgen_control.motion.joint_path import quintic


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
