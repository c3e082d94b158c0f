# SPDX-License-Identifier: Apache-2.0
"""How far away things are in the first picture: from the table's plane and a known size, or from a depth sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array
from physgen_physworld.camera import Camera
from physgen_physworld.reconstruction.colours import Mask


class Depth(Protocol):
    """Says where a thing on the table is, from the pixels that it covers."""

    def place(self, camera: Camera, mask: Mask, size: tuple[float, float, float]) -> Float64Array:
        """Return a first guess of the middle [3] of a box that covers the mask [m, base frame]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneDepth:
    """The thing stands on a horizontal plane at a known height [m] and its size is known."""

    table_height: float = 0.0

    def place(self, camera: Camera, mask: Mask, size: tuple[float, float, float]) -> Float64Array:
        """Meet the plane through the box's middle with the ray of the mask's middle."""
        return camera.on_plane(mask_middle(mask)[None], self.table_height + size[2] / 2)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorDepth:
    """A depth picture by the camera of the first picture: float32 [height, width], metres along its axis, 0 = none."""

    depth: Float32Array

    def place(self, camera: Camera, mask: Mask, size: tuple[float, float, float]) -> Float64Array:
        """Take the measured points of the mask; the middle lies half a box behind the seen faces.

        Raises:
            UserError: no depth at the object, or a depth picture of another size.
        """
        points = self.points(camera, mask)
        ray = points.mean(axis=0) - camera.base_from_camera.position
        ray /= float(np.linalg.norm(ray))
        return np.median(points, axis=0) + ray * (0.4 * min(size))

    def points(self, camera: Camera, mask: Mask) -> Float64Array:
        """Return the measured points [n, 3] of a mask in the base frame.

        Raises:
            UserError: no depth at the object, or a depth picture of another size.
        """
        if self.depth.shape != mask.shape:
            raise UserError(
                f"The depth picture has {self.depth.shape} pixels, but the first picture has {mask.shape}: "
                "align the depth to the colour camera."
            )
        rows, columns = np.nonzero(mask & np.isfinite(self.depth) & (self.depth > 0))
        if not len(rows):
            raise UserError(
                "The depth sensor has measured nothing at the object: use the table's plane instead."
            )
        pixels = np.stack([columns + 0.5, rows + 0.5], axis=1)
        return camera.base_from_camera.position + camera.rays(pixels) * self.depth[rows, columns][:, None]

    def table_plane(self, camera: Camera, object_mask: Mask) -> tuple[Float64Array, float]:
        """Return the unit normal [3] (upwards) and the offset [m] of the plane that most of the picture shows.

        RANSAC, then least squares on what agrees within 5 mm. It is the direction against gravity of a level table.
        """
        every = self.points(camera, ~object_mask)
        rng = np.random.default_rng(0)
        every = every[rng.permutation(len(every))[:4000]]
        best = np.zeros(len(every), bool)
        for _ in range(120):
            a, b, c = every[rng.choice(len(every), 3, replace=False)]
            normal = np.cross(b - a, c - a)
            length = float(np.linalg.norm(normal))
            if length < 1e-6:
                continue
            agrees = np.abs((every - a) @ (normal / length)) < 0.005
            if agrees.sum() > best.sum():
                best = agrees
        points = every[best]
        middle = points.mean(axis=0)
        normal = np.linalg.svd(points - middle, full_matrices=False)[2][2]
        normal = normal if normal[2] > 0 else -normal
        return normal, float(normal @ middle)


def mask_middle(mask: Mask) -> Float64Array:
    """Return the middle (column, row) of a mask in continuous pixel coordinates."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])
