# SPDX-License-Identifier: Apache-2.0
"""Perturbations of the real simulator."""

import importlib.util

import pytest
from scene_checks import check_scene_changes

from physgen_control.errors import UserError
from physgen_sim_bridge.perturbation.condition import parse_condition
from physgen_sim_bridge.perturbation.perturbed_world import perturbed
from physgen_sim_bridge.registry import make_world

pytestmark = [
    pytest.mark.sim,
    pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="mani-skill is not installed"),
]


def test_each_category_changes_its_own_part_of_the_scene():
    """In the process of a bridge, so that changes cross its socket too."""
    try:
        world = make_world("maniskill", "StackCube-v1", image_size=64, in_worker=True)
    except UserError as error:
        pytest.skip(str(error))
    try:
        check_scene_changes(world, seed=2, displaces=False)
    finally:
        world.close()


def test_added_things_and_another_start_leave_the_task_possible():
    """The scripted expert still solves it where the things lie and from where the arm starts."""
    from physgen_sim_bridge.experts.by_task import make_expert

    world = make_world("maniskill", "PushCube-v1", render=False, in_worker=True)
    try:
        for condition in ("layout:5", "robot:3"):
            changed, expert = (
                perturbed(world, parse_condition(condition)),
                make_expert("maniskill", "PushCube-v1"),
            )
            expert.reset()
            seen = changed.reset(7)
            for _ in range(100):
                if seen.success:
                    break
                seen = changed.step(expert.act(seen.objects, seen.tcp_pose, seen.gripper_width))
            assert seen.success, condition
    finally:
        world.close()
