# SPDX-License-Identifier: Apache-2.0
"""Where a video ends is judged by physics: what is let go has to stay, and what is held stays where it was shown."""

from dataclasses import replace

import numpy as np
import pytest

from physgen_control.types import Float64Array
from physgen_physworld.plan.goals import Goals, make_goals
from physgen_physworld.scene.scene import Scene, build_scene
from physgen_physworld.values import ObjectTrack, Tracks, yaw_quaternions

pytest.importorskip("mujoco", reason="the extra physworld is not installed")

from physgen_physworld.plan.settle import settled

CUBE = (0.04, 0.04, 0.04)
GREEN = np.array([0.57, -0.08, 0.02])
ON_TOP = np.array([0.57, -0.08, 0.06])


def ending_at(end: Float64Array) -> tuple[Goals, Scene]:
    points = np.array([[0.60, 0.06, 0.02], [0.60, 0.06, 0.13], [*end[:2], 0.13], end])
    at = np.linspace(0, 3, 24)
    positions = np.stack([np.interp(at, np.arange(4), points[:, axis]) for axis in range(3)], axis=1)
    still = np.tile(GREEN, (24, 1))
    objects = tuple(
        ObjectTrack(
            name=name,
            size=CUBE,
            positions=places,
            quaternions=yaw_quaternions(np.zeros(24)),
            confidence=np.ones(24),
        )
        for name, places in (("red_cube", positions), ("green_cube", still))
    )
    tracks = Tracks(objects=objects, period_s=0.1, source="test")
    return make_goals(tracks), build_scene(tracks)


@pytest.mark.parametrize("off", [[0.0, 0.0, 0.0], [0.01, -0.005, 0.02], [0.0, 0.012, -0.015]])
def test_a_cube_that_stays_is_let_go_where_the_video_says_at_the_height_of_its_support(
    off: list[float],
) -> None:
    goals, scene = ending_at(ON_TOP + np.array(off))
    after = settled(goals, scene)
    assert after.positions[-1] == pytest.approx(ON_TOP + np.array([off[0], off[1], 0.0]), abs=1e-6)
    assert after.released
    assert np.array_equal(after.positions[0], goals.positions[0])


def test_a_cube_that_would_fall_is_let_go_farther_inside() -> None:
    goals, scene = ending_at(ON_TOP + np.array([0.0, 0.026, 0.0]))
    beside = settled(goals, scene).positions[-1] - ON_TOP
    assert 0.0 < beside[1] < 0.021 and abs(beside[0]) < 1e-6


def test_a_cube_that_is_held_stays_where_it_was_shown() -> None:
    goals, scene = ending_at(np.array([0.5, 0.1, 0.15]))
    assert settled(goals, scene) is goals


def test_a_cube_that_is_pushed_stays_as_it_is() -> None:
    goals, scene = ending_at(ON_TOP)
    assert settled(replace(goals, lifted=False), scene).positions is goals.positions
