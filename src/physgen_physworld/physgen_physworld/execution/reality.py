# SPDX-License-Identifier: Apache-2.0
"""The world that is real for us: it gives pictures, the depth of the first one and the robot's state, nothing else.

What a simulator knows beyond that is behind `judge`, which those call who score an episode after it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from physgen_control.types import Float32Array, Float64Array, Pose, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.video.oracle import maniskill_camera
from physgen_sim_bridge.maniskill.world import ManiSkillWorld
from physgen_sim_bridge.world import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a robot has: the fixed camera's picture if it looked, and its own measured state (see RobotState)."""

    picture: UInt8Image | None
    positions: Float64Array
    gripper_width: float
    tcp_pose: Pose


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an episode ended, by the task's own rule; where the objects really are [m], by the simulator's names."""

    success: bool
    positions: dict[str, Float64Array]


class Reality(Protocol):
    """A robot at a table with one calibrated camera."""

    camera: Camera
    instruction: str
    max_steps: int

    def begin(self, seed: int) -> Seen:
        """Start an episode and look."""
        ...

    def depth(self) -> Float32Array:
        """Return the depth picture of the fixed camera, before the first step."""
        ...

    def step(self, action: Float32Array, *, look: bool) -> Seen:
        """Apply one canonical action; look at the scene after it."""
        ...

    def judge(self) -> Verdict:
        """Score the episode; no policy may ask."""
        ...


class ManiSkillReality:
    """A ManiSkill task, untouched."""

    def __init__(self, task: str, world: ManiSkillWorld) -> None:
        self._world = world
        self.camera = maniskill_camera(task, world.spec.fixed_camera.image_size[0])
        self.instruction = world.spec.instruction
        self.max_steps = world.spec.default_max_steps
        self._last: Observation | None = None

    def begin(self, seed: int) -> Seen:
        """Start the episode of a seed."""
        self._last = self._world.reset(seed)
        return _seen(self._last, look=True)

    def depth(self) -> Float32Array:
        """Return the depth picture."""
        return self._world.fixed_depth()

    def step(self, action: Float32Array, *, look: bool) -> Seen:
        """Apply an action for 50 ms."""
        self._last = self._world.step(action, render=look)
        return _seen(self._last, look=look)

    def judge(self) -> Verdict:
        """Ask the simulator."""
        assert self._last is not None
        return Verdict(
            success=self._last.success,
            positions={name: pose.position for name, pose in self._last.objects.items()},
        )


def _seen(observation: Observation, *, look: bool) -> Seen:
    return Seen(
        picture=observation.rgb_fixed if look else None,
        positions=observation.positions,
        gripper_width=observation.gripper_width,
        tcp_pose=observation.tcp_pose,
    )
