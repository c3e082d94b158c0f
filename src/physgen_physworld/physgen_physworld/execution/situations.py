# SPDX-License-Identifier: Apache-2.0
"""Scenes to learn in: what their objects shall do is what the expert did with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from physgen_control.errors import UserError
from physgen_physworld.execution.true_tracks import true_tracks
from physgen_physworld.plan.goals import make_goals
from physgen_physworld.plan.settle import settled
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.residual.environment import Situation
from physgen_physworld.scene.scene import build_scene
from physgen_physworld.video.object_clips import object_poses
from physgen_sim_bridge.maniskill.simulator import CONTROL_PERIOD_NS
from physgen_sim_bridge.maniskill.world import ManiSkillWorld


def expert_situations(task: str, seeds: Sequence[int]) -> Iterator[Situation | None]:
    """Yield a situation per seed; None where the expert does not solve it or nothing moves."""
    world = ManiSkillWorld(task, image_size=16, render=False)
    things = things_named(world.spec.instruction)
    try:
        for seed in seeds:
            try:
                poses = object_poses(world, task, seed)
                tracks = true_tracks(task, things, poses, CONTROL_PERIOD_NS / 1e9)
                goals, scene = make_goals(tracks), build_scene(tracks)
            except UserError:
                yield None
                continue
            yield Situation(scene=scene, goals=settled(goals, scene))
    finally:
        world.close()
