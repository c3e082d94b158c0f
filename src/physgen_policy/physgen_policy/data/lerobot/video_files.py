# SPDX-License-Identifier: Apache-2.0
"""Writes the video files of one camera of a LeRobot dataset, by the bundled ffmpeg."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physgen_policy.data.lerobot.file_place import FilePlace

VIDEO_OPTIONS = ("-g", "2", "-bf", "0", "-crf", "20", "-preset", "veryfast")
"""A key frame at every second image, as LeRobot writes them: random access decodes two images at most."""


class VideoFiles:
    """The video files of one camera, one image after the other.

    Args:
        root: The dataset folder.
        key: Feature name of the camera.
        fps: Images per second.
        limit_bytes: Size at which a file is closed.
    """

    def __init__(self, root: Path, key: str, fps: int, limit_bytes: int) -> None:
        self.place = FilePlace()
        self.frames = 0  # in the open file
        self._root, self._key, self._fps, self._limit = root, key, fps, limit_bytes
        self._pipe: Generator[None, Any, None] | None = None

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Append an image, uint8 [y, x, 3]."""
        import imageio_ffmpeg

        if self._pipe is None:
            path = self.place.path(self._root, f"videos/{self._key}", ".mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            height, width = rgb.shape[:2]
            self._pipe = imageio_ffmpeg.write_frames(
                str(path),
                (width, height),
                fps=self._fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                quality=None,
                macro_block_size=1,
                ffmpeg_log_level="error",
                output_params=list(VIDEO_OPTIONS),
            )
            self._pipe.send(None)
        self._pipe.send(np.ascontiguousarray(rgb))
        self.frames += 1

    def end_of_episode(self) -> None:
        """Begin a new file if this one is large enough."""
        path = self.place.path(self._root, f"videos/{self._key}", ".mp4")
        if path.is_file() and path.stat().st_size >= self._limit:
            self.close()
            self.place.next()

    def close(self) -> None:
        """Finish the open file, if any."""
        if self._pipe is not None:
            self._pipe.close()
        self._pipe, self.frames = None, 0
