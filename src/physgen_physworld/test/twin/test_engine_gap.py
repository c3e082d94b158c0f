# SPDX-License-Identifier: Apache-2.0
"""The gap between the engines, which stands for the one to a real table: the expert's actions replayed in the twin."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from physgen_physworld.scene.scene import GRAVITY, Scene, SceneBox
from physgen_physworld.values import yaw_of

pytest.importorskip("mujoco", reason="the extra physworld is not installed")


# The simulator runs in this process, with what its libraries warn of each other.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="mani-skill is not installed")
def test_an_open_loop_grasp_ends_near_the_same_place_in_both_engines() -> None:
    """Nothing was tuned for it: a hand goes 40 % of a told step in one engine and 45 % in the other."""
    from physgen_physworld.twin.twin import Properties, Twin
    from physgen_sim_bridge.experts.by_task import make_expert
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    world = ManiSkillWorld("PickCube-v1", image_size=64, render=False)
    gaps, shares = [], []
    for seed in (20, 21, 22):
        first = seen = world.reset(seed)
        cube = first.objects["cube"]
        box = SceneBox(
            name="cube",
            position=cube.position,
            yaw=yaw_of(cube.quaternion),
            size=(0.04, 0.04, 0.04),
            mass=(0.05, 0.05),
            friction=(0.8, 0.8),
        )
        scene = Scene(boxes=(box,), moved="cube", gravity=np.array([0.0, 0.0, -GRAVITY]))
        twin = Twin(scene)
        twin.reset(replace(Properties.middle(scene), follow=1.0), first.tcp_pose)
        expert = make_expert("maniskill", "PickCube-v1")
        expert.reset()
        for _ in range(45):
            action = expert.act(seen.objects, seen.tcp_pose, seen.gripper_width)
            told = float(np.linalg.norm(action[:3]))
            real, mine = seen.tcp_pose.position, twin.tcp_pose.position
            seen = world.step(action, render=False)
            twin.step(action)
            if told > 0.01:
                went = (
                    np.linalg.norm(seen.tcp_pose.position - real),
                    np.linalg.norm(twin.tcp_pose.position - mine),
                )
                shares.append((went[0] / told, went[1] / told))
        gaps.append(float(np.linalg.norm(twin.object_pose("cube").position - seen.objects["cube"].position)))
    world.close()
    real_share, twin_share = np.median(np.array(shares), axis=0)
    assert abs(real_share - twin_share) < 0.1
    assert np.median(gaps) < 0.03
