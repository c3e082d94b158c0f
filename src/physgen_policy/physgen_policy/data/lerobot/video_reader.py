# SPDX-License-Identifier: Apache-2.0
"""Reads the video files of one camera of a LeRobot dataset, by the bundled ffmpeg: one picture after the other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from physgen_control.types import UInt8Image
from physgen_policy.data.dataset import DatasetError

MAX_SIDE = 4096
"""Of a picture [pixels]; a damaged file may claim anything."""


class VideoReader:
    """Gives the pictures of video files by their number; going on in the same file decodes nothing twice.

    ffmpeg writes each picture with its size in front (binary PPM), so that a file tells its own.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._decoder: subprocess.Popen[bytes] | None = None
        self._next = 0
        self._last: UInt8Image | None = None

    def read(self, path: Path, number: int) -> UInt8Image:
        """Return picture `number` of a file, uint8 [y, x, 3] RGB.

        Raises:
            DatasetError: The file is missing or damaged, or has fewer pictures.
        """
        if self._path != path or number < self._next - 1:
            self._open(path)
        while self._next <= number:
            self._last = self._picture()
            self._next += 1
        assert self._last is not None
        return self._last

    def close(self) -> None:
        """End the decoder, if one runs."""
        decoder, self._decoder, self._path = self._decoder, None, None
        if decoder is not None:
            assert decoder.stdout is not None
            decoder.kill()
            decoder.stdout.close()
            decoder.wait()

    def _open(self, path: Path) -> None:
        from imageio_ffmpeg import get_ffmpeg_exe

        self.close()
        if not path.is_file():
            raise DatasetError(f"the video {path} is missing")
        words = ("-nostdin", "-v", "quiet", "-i", str(path), "-f", "image2pipe", "-c:v", "ppm", "-")
        self._decoder = subprocess.Popen(
            (get_ffmpeg_exe(), *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._path, self._next, self._last = path, 0, None

    def _picture(self) -> UInt8Image:
        assert self._decoder is not None and self._decoder.stdout is not None
        kind, size, _ = (self._decoder.stdout.readline(32) for _ in range(3))
        if kind != b"P6\n":
            if not self._next:
                raise DatasetError(f"the video {self._path} cannot be decoded")
            raise DatasetError(
                f"the video {self._path} has {self._next} pictures, fewer than its episodes need"
            )
        width, height = map(int, size.split())
        if max(width, height) > MAX_SIDE:
            raise DatasetError(
                f"the video {self._path} is {width}x{height}, sides of at most {MAX_SIDE} are read"
            )
        data = self._decoder.stdout.read(width * height * 3)
        if len(data) < width * height * 3:
            raise DatasetError(f"the video {self._path} ends amid picture {self._next}")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)
