# SPDX-License-Identifier: Apache-2.0
"""A video file made by another program (mp4, GIF and whatever else OpenCV or imageio opens) with its camera.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image
from physgen_physworld.values import Video
from physgen_physworld.video.camera_file import read_camera
from physgen_physworld.video.source import VideoError, checked

MOST_FRAMES = 2000
"""Longer films are no short clips of one action; they would fill the memory."""

GIF_RATE_HZ = 10.0
"""What a GIF without a delay is played at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSource:
    """A film of any size and rate; the camera file describes the camera of its first picture."""

    path: Path
    camera_path: Path

    def video(self) -> Video:
        """Read the film; the camera is scaled to its size.

        Raises:
            VideoError: the file is missing, broken or empty.
            UserError: the camera file is missing or wrong.
        """
        if not self.path.is_file():
            raise VideoError(f"There is no video file {self.path}.")
        if self.path.stat().st_size == 0:
            raise VideoError(f"The video file {self.path} is empty: make it again.")
        camera = read_camera(self.camera_path)
        frames, rate = _read_gif(self.path) if self.path.suffix.lower() == ".gif" else _read_film(self.path)
        if not len(frames):
            raise VideoError(f"{self.path} has no picture that can be read: it is broken or no video.")
        height, width = frames[0].shape[:2]
        return checked(
            Video(
                frames=frames,
                period_s=1.0 / rate,
                camera=camera.scaled((height, width)),
                source=str(self.path),
            )
        )


def _read_film(path: Path) -> tuple[UInt8Image, float]:
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # a broken file is our sentence, not its
    try:
        film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        rate = film.get(cv2.CAP_PROP_FPS)
        frames: list[UInt8Image] = []
        while len(frames) <= MOST_FRAMES:
            there, picture = film.read()
            if not there:
                break
            frames.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        film.release()
    finally:
        cv2.utils.logging.setLogLevel(level)
    return _stacked(frames, path), rate if rate and np.isfinite(rate) and rate > 0 else 30.0


def _read_gif(path: Path) -> tuple[UInt8Image, float]:
    from PIL import Image, ImageSequence, UnidentifiedImageError

    frames: list[UInt8Image] = []
    try:
        with Image.open(path) as film:
            delay = float(film.info.get("duration", 0) or 0)
            for picture in ImageSequence.Iterator(film):
                frames.append(np.asarray(picture.convert("RGB")))
                if len(frames) > MOST_FRAMES:
                    break
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise VideoError(f"{path} is broken or no GIF ({error}): make it again.") from error
    return _stacked(frames, path), 1000.0 / delay if delay > 0 else GIF_RATE_HZ


def _stacked(frames: list[UInt8Image], path: Path) -> UInt8Image:
    if len(frames) > MOST_FRAMES:
        raise VideoError(
            f"{path} has more than {MOST_FRAMES} pictures: cut it to the one action it shall show."
        )
    return np.stack(frames) if frames else np.empty((0, 1, 1, 3), np.uint8)
