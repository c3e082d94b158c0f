# SPDX-License-Identifier: Apache-2.0
"""Worlds under conditions: what each changes in a real world, and what it leaves alone."""

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_sim_bridge.perturbation.condition import CLEAN, parse_condition
from physgen_sim_bridge.perturbation.frozen_list import frozen_list
from physgen_sim_bridge.perturbation.perturbed_world import perturbed
from physgen_sim_bridge.registry import instructions, make_world
from physgen_sim_bridge.world import Observation, World

TASK = "FakePush-v0"
STAY = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


@pytest.fixture
def world() -> World:
    return make_world("fake", TASK, image_size=64)


def under(world: World, text: str) -> World:
    return perturbed(world, parse_condition(text), instructions("fake", TASK))


def same_state(a: Observation, b: Observation) -> bool:
    return all(
        np.array_equal(a.objects[name].position, b.objects[name].position) for name in a.objects
    ) and np.array_equal(a.positions, b.positions)


def test_the_clean_condition_is_the_world_itself(world):
    assert perturbed(world, CLEAN) is world


def test_noise_changes_pictures_and_nothing_else(world):
    clean = [world.reset(4), world.step(STAY)]
    noisy_world = under(world, "noise:4")
    noisy = [noisy_world.reset(4), noisy_world.step(STAY)]
    for before, after in zip(clean, noisy, strict=True):
        assert same_state(before, after)
        assert not np.array_equal(before.rgb_fixed, after.rgb_fixed)
        assert not np.array_equal(before.rgb_wrist, after.rgb_wrist)
    assert noisy_world.spec == world.spec


def test_a_picture_does_not_depend_on_which_others_were_drawn(world):
    """In-process only pictures that are looked at are drawn, through ROS all of them: the episodes must be the same."""
    noisy = under(world, "noise:4")
    number = next(v.number for v in frozen_list().variants["noise", 4] if v.noise.filter == "sensor_noise")
    pictures = []
    for render in (True, False):
        noisy.reset(number)
        noisy.step(STAY, render=render)
        pictures.append(noisy.step(STAY).rgb_fixed)
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_language_changes_the_episodes_words_only(world):
    clean = world.reset(4)
    reworded = under(world, "language:3")
    seen = reworded.reset(4)
    assert same_state(clean, seen) and np.array_equal(clean.rgb_fixed, seen.rgb_fixed)
    first = reworded.spec.instruction
    assert first != world.spec.instruction
    reworded.reset(5)
    assert reworded.spec.instruction not in (first, world.spec.instruction)


def test_the_initial_state_decides_the_variant_where_there_is_one(world):
    """Published protocols give every episode the same seed and another stored state."""
    reworded = under(world, "language:1")
    reworded._prepare(3)  # type: ignore[attr-defined]
    by_state = reworded.spec.instruction
    reworded.reset(3)
    assert reworded.spec.instruction == by_state


def test_a_wrong_instruction_is_another_task_of_the_suite(world):
    wrong = under(world, "wrong_instruction")
    wrong.reset(0)
    assert wrong.spec.instruction in set(instructions("fake", TASK)) - {world.spec.instruction}
    with pytest.raises(UserError, match="another task of the suite"):
        perturbed(world, parse_condition("wrong_instruction"), [world.spec.instruction])


def test_a_frozen_picture_is_the_first_one_of_each_episode(world):
    frozen = under(world, "frozen_picture")
    first = frozen.reset(1)
    push = np.array([0.05, 0, 0, 0, 0, 0, 1], np.float32)
    later = frozen.step(push)
    np.testing.assert_array_equal(later.rgb_fixed, first.rgb_fixed)
    np.testing.assert_array_equal(later.rgb_wrist, first.rgb_wrist)
    assert not np.array_equal(later.tcp_pose.position, first.tcp_pose.position)
    assert not frozen.step(push, render=False).rgb_fixed.any()
    assert not np.array_equal(frozen.reset(2).rgb_fixed, first.rgb_fixed)


@pytest.mark.parametrize("in_worker", [False, True])
def test_a_world_that_cannot_be_changed_says_so(in_worker):
    world = make_world("fake", TASK, image_size=64, in_worker=in_worker)
    try:
        with pytest.raises(UserError, match="cannot change its camera"):
            under(world, "camera:2").reset(0)
        assert world.reset(0).rgb_fixed.any()
    finally:
        world.close()
