# SPDX-License-Identifier: Apache-2.0
"""Clips in which objects move by themselves: what a video model learns from without any robot data.

The scripted expert moves the objects, but neither its arm nor its actions are in a clip: only the first picture, which
is a real one, shows the arm, where it waits. Pictures are evenly spaced along the way of the object that moves, so that
a clip has no pauses and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float64Array, UInt8Image
from physgen_physworld.video.oracle import AFTER_SUCCESS, FEWEST_STEPS
from physgen_physworld.video.source import VideoError
from physgen_physworld.video.view import OBJECT_VIEW
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.maniskill.world import ManiSkillWorld

CLIP_FRAMES = 12
"""Pictures of a clip, the first one included."""

SHORTEST_WAY = 0.02
"""An object that goes less far [m] shows no motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectClip:
    """One clip of a scene."""

    images: UInt8Image
    """uint8 [CLIP_FRAMES, side, side, 3], see OBJECT_VIEW."""
    task: str
    seed: int
    instruction: str


def film_objects(world: ManiSkillWorld, task: str, seed: int) -> ObjectClip:
    """Film the objects of a seed while the expert moves them.

    Args:
        world: of this task, which draws square pictures of OBJECT_VIEW's height.
        task: its name.
        seed: of the scene.

    Raises:
        VideoError: the expert does not solve it, or nothing moves.
    """
    shown = evenly_along(_farthest_way(object_poses(world, task, seed)))
    expert = make_expert("maniskill", task)
    expert.reset()
    seen = world.reset(seed)
    first = OBJECT_VIEW.cut(seen.rgb_fixed)
    world.show_objects_only()
    images = {0: first}
    for step in range(1, max(shown) + 1):
        action = expert.act(seen.objects, seen.tcp_pose, seen.gripper_width)
        seen = world.step(action, render=step in shown)
        if step in shown:
            images[step] = OBJECT_VIEW.cut(seen.rgb_fixed)
    return ObjectClip(
        images=np.stack([first] + [images[step] for step in shown]),
        task=task,
        seed=seed,
        instruction=world.spec.instruction,
    )


def object_poses(world: ManiSkillWorld, task: str, seed: int) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Run the expert without a picture and return where everything was.

    Returns:
        Positions [T + 1, 3] and quaternions [T + 1, 4] before and after every control step, by the simulator's names.

    Raises:
        VideoError: the expert does not solve it.
    """
    expert = make_expert("maniskill", task)
    expert.reset()
    seen = world.reset(seed)
    poses = {name: [pose] for name, pose in seen.objects.items()}
    left, step = AFTER_SUCCESS, 0
    while left:
        step += 1
        if step > world.spec.default_max_steps:
            raise VideoError(f"The expert does not solve {task} with seed {seed}.")
        seen = world.step(expert.act(seen.objects, seen.tcp_pose, seen.gripper_width), render=False)
        left -= bool(seen.success) and step >= FEWEST_STEPS
        for name, pose in seen.objects.items():
            poses[name].append(pose)
    return {
        name: (np.stack([p.position for p in there]), np.stack([p.quaternion for p in there]))
        for name, there in poses.items()
    }


def _farthest_way(poses: Mapping[str, tuple[Float64Array, Float64Array]]) -> Float64Array:
    """Return how far the object that moves farthest has come after every control step [m].

    Raises:
        VideoError: nothing moves.
    """
    ways = []
    for positions, _ in poses.values():
        moves = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        ways.append(np.concatenate([[0.0], np.cumsum(moves)]))
    farthest = max(ways, key=lambda way: float(way[-1]))
    if farthest[-1] < SHORTEST_WAY:
        raise VideoError("Nothing moves.")
    return farthest


def evenly_along(way: Float64Array) -> list[int]:
    """Return the control steps of the pictures after the first: evenly spaced along the way, the last one at rest.

    Args:
        way: float64 [T + 1], how far the object has come after every control step [m]; it never falls.
    """
    shares = np.arange(1, CLIP_FRAMES - 1) / (CLIP_FRAMES - 1)
    steps = np.searchsorted(way, shares * way[-1])
    return [*(int(step) for step in steps), len(way) - 1]
