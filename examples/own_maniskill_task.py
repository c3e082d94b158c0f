# SPDX-License-Identifier: Apache-2.0
"""A ManiSkill task of one's own: PushCube with another start of the cube and its own words. See docs/own_things.md.

./physgen eval --task examples/own_maniskill_task.py:PUSH_FAR --policy expert --episodes 2 --out runs/far
./physgen collect --task examples/own_maniskill_task.py:PUSH_FAR --episodes 10 --out bags/far
"""

import torch
from mani_skill.envs.tasks.tabletop.push_cube import PushCubeEnv
from mani_skill.utils.registration import register_env

from physgen_sim_bridge.experts.push import PushExpert
from physgen_sim_bridge.maniskill.tasks import ManiSkillTask


@register_env("PushCubeFar-v1", max_episode_steps=100)
class PushCubeFarEnv(PushCubeEnv):
    """The cube starts 5 cm nearer to the robot, and the goal stays ahead of it."""

    def _initialize_episode(self, env_idx: torch.Tensor, options: dict[str, object]) -> None:
        super()._initialize_episode(env_idx, options)
        for thing in (self.obj, self.goal_region):
            pose = thing.pose.raw_pose.clone()
            pose[:, 0] -= 0.05
            thing.set_pose(type(thing.pose).create(pose))


PUSH_FAR = ManiSkillTask(
    env_id="PushCubeFar-v1",
    instruction="push the near cube to the goal",
    success_rule="the cube's centre is within 0.1 m of the goal's centre, on the table",
    max_steps=100,
    objects=(("cube", "obj"), ("goal", "goal_region")),  # our names and the environment's attributes
    eye=(0.70, 0.18, 0.50),  # the fixed camera, [m]
    target=(0.06, 0.0, 0.03),
    fov=0.70,
    expert=PushExpert,
)
