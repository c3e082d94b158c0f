# SPDX-License-Identifier: Apache-2.0
"""Videos of a model of this project: one picture and the instruction in, the objects' motion out.

The model has learned from clips without an arm and without actions, of the middle of the fixed camera's pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.values import Video
from physgen_physworld.video.object_clips import CLIP_FRAMES
from physgen_physworld.video.view import OBJECT_VIEW
from physgen_policy.checkpoint import Checkpoint, load_checkpoint, read_description, resolve_checkpoint
from physgen_policy.runtime.imagination import Imagination
from physgen_policy.sampling.frame import FrameSampler

PERIOD_S = 0.25
"""Clips have no clock; at a usual speed this is the time between two pictures that lie 2 to 3 cm apart."""

SAMPLES = 4
"""Videos that are looked at, at most, until one can be followed."""

TEMPERATURE = 0.5
"""Of the samples after the first video, which is the mean."""


def find_generator(checkpoint: Path) -> Path:
    """Return the folder of a checkpoint that is given by folder or by name.

    Raises:
        UserError: there is none.
    """
    return resolve_checkpoint(str(checkpoint), "")


class VideoGenerator:
    """Generates clips from a checkpoint that was trained on object clips. Not thread-safe.

    Args:
        checkpoint: its folder, or the name of a shipped one.

    Raises:
        UserError: the checkpoint cannot be read, or is none of those.
    """

    def __init__(self, checkpoint: Path) -> None:
        folder = find_generator(checkpoint)
        loaded = load_checkpoint(folder)
        own = loaded.embodiment
        if own.acts or own.cameras != ("fixed",) or own.image_height != OBJECT_VIEW.side:
            raise UserError(
                f"{checkpoint} is no model of object clips: it sees {', '.join(own.cameras)} at {own.image_width} x "
                f"{own.image_height} pixels and its action space is {own.action_space}; train one with "
                "config/train/object_video.yaml"
            )
        self.name = loaded.name
        self._mean = Imagination(loaded)
        self._sampling = _sampling(loaded)
        run = read_description(folder).training.get("config", {})
        learned = run.get("policy", {}).get("obs_loss_of")
        self._count = 1 if learned == "mean" else SAMPLES  # who learned means alone draws no samples

    def videos(self, picture: UInt8Image, camera: Camera, instruction: str) -> Iterator[Video]:
        """Yield the videos that there are to choose from, each made when it is asked for; see `video`."""
        for number in range(self._count):
            yield self.video(picture, camera, instruction, number)

    def video(self, picture: UInt8Image, camera: Camera, instruction: str, number: int = 0) -> Video:
        """Return a video that begins with a real picture.

        Args:
            picture: of the fixed camera, uint8 [y, x, 3].
            camera: that took it.
            instruction: what shall happen.
            number: 0 is the mean of what may come; others are samples, and the same number gives the same video.

        Raises:
            UserError: the picture is too narrow for what the model sees.
        """
        imagination = self._sampling if number else self._mean
        first = OBJECT_VIEW.cut(picture)
        imagination.begin(first, instruction, seed=number)
        frames = [first] + [imagination.watch() for _ in range(CLIP_FRAMES - 1)]
        return Video(
            frames=np.stack(frames),
            period_s=PERIOD_S,
            camera=OBJECT_VIEW.camera(camera),
            source=f"video {number} of {self.name}",
            real_camera=camera,
            blurred=True,
        )


def _sampling(checkpoint: Checkpoint) -> Imagination:
    return Imagination(checkpoint, FrameSampler(kind="sample", temperature=TEMPERATURE))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSource:
    """The video that is chosen among those that a checkpoint makes from one picture."""

    checkpoint: Path
    picture: UInt8Image
    """Of the fixed camera, uint8 [y, x, 3]."""
    camera: Camera
    """That took it."""
    instruction: str
    clicks: Mapping[str, tuple[float, float]]
    """Where things are in the picture, by name, if words do not say it; column and row."""

    def video(self) -> Video:
        """Generate and choose.

        Raises:
            UserError: the checkpoint does not fit, or no video can be followed.
        """
        from physgen_physworld.plan.choice import choose_video
        from physgen_physworld.reconstruction.depth import PlaneDepth
        from physgen_physworld.reconstruction.words import things_named

        generator = VideoGenerator(self.checkpoint)
        videos = generator.videos(self.picture, self.camera, self.instruction)
        return choose_video(videos, things_named(self.instruction), PlaneDepth(), self.clicks).video
