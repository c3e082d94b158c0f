# SPDX-License-Identifier: Apache-2.0
"""ManiSkill's tasks: their words, limits, objects and fixed cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from physgen_sim_bridge.world import Expert


@dataclass(frozen=True, slots=True, kw_only=True)
class ManiSkillTask:
    """A task: its words, its limits and its fixed camera.

    The camera looks from `eye` to `target` in the simulator's world frame: robot base at x = -0.615 m, table top at z =
    0.
    """

    instruction: str
    success_rule: str
    max_steps: int
    """Control steps."""
    objects: tuple[tuple[str, str], ...]
    """Our name and the attribute of the environment, of each."""
    eye: tuple[float, float, float]
    """[m]"""
    target: tuple[float, float, float]
    """[m]"""
    fov: float
    """Vertical field of view [rad]."""
    markers: tuple[str, ...] = ()
    """Attributes of the environment of what is drawn in the air and is no thing."""
    env_id: str = ""
    """The environment's id in gymnasium where it is not the task's name."""
    expert: Callable[[], Expert] | None = None
    """Makes the task's scripted expert; None: the table of experts may have one."""


# The fixed camera stands opposite the robot, a little to its left, so that the cube is always between the camera and
# the gripper that pushes it, and the slant shows depth.
TASKS: dict[str, ManiSkillTask] = {
    "PushCube-v1": ManiSkillTask(
        instruction="push the cube to the goal",
        success_rule="the cube's centre is within 0.1 m of the goal's centre, on the table",
        max_steps=100,
        objects=(("cube", "obj"), ("goal", "goal_region")),
        eye=(0.70, 0.18, 0.50),
        target=(0.06, 0.0, 0.03),
        fov=0.70,
    ),
    "PickCube-v1": ManiSkillTask(
        instruction="pick up the cube and move it to the goal",
        success_rule="the cube's centre is within 0.025 m of the goal and the arm is still",
        max_steps=150,
        objects=(("cube", "cube"), ("goal", "goal_site")),
        markers=("goal_site",),
        eye=(0.65, 0.18, 0.50),
        target=(0.0, 0.0, 0.14),
        fov=0.75,
    ),
    "StackCube-v1": ManiSkillTask(
        instruction="stack the red cube on the green cube",
        success_rule="the red cube lies still on the green cube and is not held",
        max_steps=200,
        objects=(("cubeA", "cubeA"), ("cubeB", "cubeB")),
        eye=(0.65, 0.18, 0.50),
        target=(-0.02, 0.0, 0.06),
        fov=0.92,
    ),
}
