# SPDX-License-Identifier: Apache-2.0
"""The video that a perfect generator would make: a scripted expert's episode of a ManiSkill task, with or without arm.

Only the pictures are the video. The true poses lie beside it for measuring errors; no step of the product reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float64Array, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.values import Video
from physgen_physworld.video.source import VideoError, checked
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.maniskill.simulator import CONTROL_PERIOD_NS
from physgen_sim_bridge.maniskill.world import ManiSkillWorld

AFTER_SUCCESS = 6
"""Control steps that are still shown after success, so that the video ends at rest."""


def maniskill_camera(task: str, image_size: int) -> Camera:
    """Return the fixed camera of a ManiSkill task, as a calibration would find it."""
    from physgen_sim_bridge.maniskill.tasks import TASKS
    from physgen_sim_bridge.world import CameraSpec

    size = (image_size, image_size)
    spec = CameraSpec(name="fixed", fov_y=TASKS[task].fov, image_size=size)
    camera = ManiSkillWorld.fixed_camera(task)
    assert camera is not None  # every task of the table has one
    return Camera(
        matrix=np.array(spec.matrix()).reshape(3, 3),
        image_size=size,
        base_from_camera=camera.pose,
    )


FEWEST_STEPS = 16
"""A scene may be solved as it is drawn; its video shows at least the beginning of what the expert does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleEpisode:
    """The video and, for measuring alone, the true positions [T, 3] and quaternions [T, 4] of every object."""

    video: Video
    truth: dict[str, tuple[Float64Array, Float64Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleSource:
    """The expert's episode of a seed, one picture every `every` control steps; arm=False leaves the robot out."""

    task: str
    seed: int
    image_size: int = 256
    every: int = 2
    arm: bool = False

    def video(self) -> Video:
        """Render the video; see `episode`."""
        return self.episode().video

    def episode(self, world: ManiSkillWorld | None = None) -> OracleEpisode:
        """Run the expert and film it.

        Args:
            world: a world of this task and image size to use instead of a new one, which takes seconds to make.

        Raises:
            VideoError: the expert does not solve this seed.
        """
        own = world is None
        world = world or ManiSkillWorld(self.task, image_size=self.image_size)
        try:
            return self._film(world)
        finally:
            if own:
                world.close()

    def _film(self, world: ManiSkillWorld) -> OracleEpisode:
        expert = make_expert("maniskill", self.task)
        expert.reset()
        seen = world.reset(self.seed)
        frames: list[UInt8Image] = [seen.rgb_fixed]
        if not self.arm:
            world.show_objects_only()
            # The first picture is the real one: with the arm, which is there.
        truth = {name: [pose] for name, pose in seen.objects.items()}
        left, step = AFTER_SUCCESS, 0
        while left:
            step += 1
            if step > world.spec.default_max_steps:
                raise VideoError(
                    f"The expert does not solve {self.task} with seed {self.seed}: take another seed for its video."
                )
            shown = step % self.every == 0
            action = expert.act(seen.objects, seen.tcp_pose, seen.gripper_width)
            seen = world.step(action, render=shown)
            left -= bool(seen.success) and step >= FEWEST_STEPS
            if shown:
                frames.append(seen.rgb_fixed)
                for name, pose in seen.objects.items():
                    truth[name].append(pose)
        video = Video(
            frames=np.stack(frames),
            period_s=self.every * CONTROL_PERIOD_NS / 1e9,
            camera=maniskill_camera(self.task, self.image_size),
            source=f"the expert's episode of {self.task}, seed {self.seed}, "
            f"{'with' if self.arm else 'without'} the arm",
        )
        return OracleEpisode(
            video=checked(video),
            truth={
                name: (np.stack([p.position for p in poses]), np.stack([p.quaternion for p in poses]))
                for name, poses in truth.items()
            },
        )
