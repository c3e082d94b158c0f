# SPDX-License-Identifier: Apache-2.0
"""What a video model sees of the fixed camera: the middle of its picture, at a size of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image
from physgen_physworld.camera import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A square window of `side` pixels in the middle of a picture that is scaled to `height` rows."""

    height: int
    side: int

    def cut(self, picture: UInt8Image) -> UInt8Image:
        """Return the window of a picture [y, x, 3], uint8 [side, side, 3].

        Raises:
            UserError: the picture is too narrow for it.
        """
        size = self._scaled_size(picture.shape[:2])
        if size != picture.shape[:2]:
            picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        row, column = self._corner(size)
        return np.ascontiguousarray(picture[row : row + self.side, column : column + self.side])

    def camera(self, camera: Camera) -> Camera:
        """Return the camera that takes the window of another camera's pictures.

        Raises:
            UserError: its pictures are too narrow for it.
        """
        size = self._scaled_size(camera.image_size)
        scaled = camera.scaled(size)
        row, column = self._corner(size)
        matrix = scaled.matrix.copy()
        matrix[:2, 2] -= (column, row)
        return replace(scaled, matrix=matrix, image_size=(self.side, self.side))

    def _scaled_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        width = round(size[1] * self.height / size[0])
        if width < self.side:
            raise UserError(
                f"The camera's pictures are {size[1]} x {size[0]} pixels, too narrow for what the video model sees: "
                f"{self.side} of {self.height} pixels of their height."
            )
        return self.height, width

    def _corner(self, size: tuple[int, int]) -> tuple[int, int]:
        return (size[0] - self.side) // 2, (size[1] - self.side) // 2


OBJECT_VIEW = View(height=256, side=192)
"""What the models of object clips see."""
