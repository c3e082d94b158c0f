# SPDX-License-Identifier: Apache-2.0
"""A recorded bag as a video: what the fixed camera saw while somebody, or something, did the task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen_control.bags.reader import read_episode
from physgen_physworld.values import Video
from physgen_physworld.video.camera_file import read_camera
from physgen_physworld.video.source import VideoError, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class BagSource:
    """The pictures of the fixed camera in a bag; its actions and states are not read."""

    path: Path
    camera_path: Path
    every: int = 1

    def video(self) -> Video:
        """Read every N-th picture.

        Raises:
            UserError: the bag cannot be read, or its camera is not described.
            VideoError: it has no pictures.
        """
        camera = read_camera(self.camera_path)
        images = read_episode(self.path).fixed
        stamps = np.asarray(images.stamps_ns)[:: self.every]
        if len(stamps) < 2:
            raise VideoError(f"The bag {self.path} has no pictures of the fixed camera to watch.")
        frames = np.stack([images.rgb(index) for index in range(0, len(images), self.every)])
        return checked(
            Video(
                frames=frames,
                period_s=float(np.median(np.diff(stamps))) / 1e9,
                camera=camera.scaled((frames.shape[1], frames.shape[2])),
                source=f"the bag {self.path.name}",
            )
        )
