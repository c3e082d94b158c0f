# SPDX-License-Identifier: Apache-2.0
"""Events in the middle of an episode: what changes, from when on, and what does not."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_sim_bridge.perturbation.event import (
    BUMPED_PX,
    DIMMED,
    KINDS,
    MOVED_M,
    Event,
    EventWorld,
    possible_kinds,
)
from physgen_sim_bridge.registry import make_world
from physgen_sim_bridge.world import Observation, World

STAY = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
STEP = 3


def episode(world: World, steps: int = 6, seed: int = 4) -> list[Observation]:
    return [world.reset(seed), *(world.step(STAY) for _ in range(steps))]


@pytest.fixture
def clean() -> list[Observation]:
    return episode(make_world("fake", "FakePush-v0", image_size=64))


def changed(kind: str) -> tuple[EventWorld, list[Observation]]:
    world = EventWorld(make_world("fake", "FakePush-v0", image_size=64), Event(kind, STEP))
    return world, episode(world)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_differs_before_the_event_and_the_arm_never_does(kind: str, clean: list[Observation]) -> None:
    _, seen = changed(kind)
    for number, (a, b) in enumerate(zip(clean, seen, strict=True)):
        np.testing.assert_array_equal(a.positions, b.positions)
        if number <= STEP:
            np.testing.assert_array_equal(a.rgb_fixed, b.rgb_fixed)
            np.testing.assert_array_equal(a.rgb_wrist, b.rgb_wrist)


def test_a_thing_is_moved_once_and_stays_there(clean: list[Observation]) -> None:
    world, seen = changed("object_moved")
    assert world.happened
    for a, b in zip(clean[STEP + 1 :], seen[STEP + 1 :], strict=True):
        moved = b.objects["cube"].position - a.objects["cube"].position
        assert np.linalg.norm(moved) == pytest.approx(MOVED_M) and moved[2] == 0.0


def test_a_bumped_camera_shifts_its_picture_alone(clean: list[Observation]) -> None:
    _, seen = changed("camera_bumped")
    a, b = clean[-1], seen[-1]
    np.testing.assert_array_equal(a.rgb_wrist, b.rgb_wrist)
    offsets = range(-BUMPED_PX, BUMPED_PX + 1)
    inner = slice(BUMPED_PX, -BUMPED_PX)
    fits = [
        (down, right)
        for down in offsets
        for right in offsets
        if np.array_equal(
            np.roll(a.rgb_fixed, (down, right), (0, 1))[inner, inner], b.rgb_fixed[inner, inner]
        )
    ]
    assert len(fits) == 1
    assert np.hypot(*fits[0]) == pytest.approx(BUMPED_PX, abs=1.0)


def test_less_light_is_less_of_every_colour(clean: list[Observation]) -> None:
    _, seen = changed("light_changed")
    for a, b in ((clean[-1].rgb_fixed, seen[-1].rgb_fixed), (clean[-1].rgb_wrist, seen[-1].rgb_wrist)):
        assert np.abs(DIMMED * a - b).max() <= 0.5


def test_what_is_not_held_cannot_slip() -> None:
    world, _ = changed("object_slipped")
    assert not world.happened


def test_what_cannot_happen_is_a_sentence() -> None:
    world = make_world("fake", "FakePush-v0", image_size=64)
    with pytest.raises(UserError, match="an event is one of object_moved"):
        EventWorld(world, Event("flood", 1))
    assert possible_kinds(world) == KINDS
    assert possible_kinds(EventWorld(world, Event("light_changed", 1))) == ("camera_bumped", "light_changed")
    with pytest.raises(UserError, match="cannot move an object in the middle"):
        episode(EventWorld(EventWorld(world, Event("light_changed", 1)), Event("object_moved", 1)))


@pytest.mark.sim
@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="mani-skill is not installed")
def test_maniskills_cube_is_moved_and_lies_still() -> None:
    try:
        bare = make_world("maniskill", "PickCube-v1", render=False, in_worker=True)
    except UserError as error:
        pytest.skip(str(error))
    try:
        before = episode(bare, 8)
        after = episode(EventWorld(bare, Event("object_moved", STEP)), 8)
    finally:
        bare.close()
    moved = after[-1].objects["cube"].position - before[-1].objects["cube"].position
    assert np.linalg.norm(moved) == pytest.approx(MOVED_M, abs=0.002)
    np.testing.assert_allclose(after[-1].objects["goal"].position, before[-1].objects["goal"].position)
