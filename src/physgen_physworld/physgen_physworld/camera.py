# SPDX-License-Identifier: Apache-2.0
"""A calibrated pinhole camera: where a point of the base frame is in the picture, and which ray a pixel looks along.

Pixel coordinates are continuous, (0, 0) is the picture's upper left corner and the centre of its first pixel is
(0.5, 0.5): so a picture can be scaled by scaling the intrinsic matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_quaternion
from physgen_control.types import Float64Array, Pose


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Intrinsic matrix [3, 3] in pixels for pictures of image_size (height, width); optical frame in the base frame.

    The optical frame is x right, y down, z ahead. Lens distortion is not modelled: pictures are rectified.
    """

    matrix: Float64Array
    image_size: tuple[int, int]
    base_from_camera: Pose

    def __post_init__(self) -> None:
        if self.matrix.shape != (3, 3) or not np.all(np.isfinite(self.matrix)):
            raise UserError("A camera needs an intrinsic matrix of three rows of three finite numbers.")
        if self.matrix[0, 0] <= 0 or self.matrix[1, 1] <= 0:
            raise UserError("The focal lengths in a camera's intrinsic matrix must be positive.")

    @property
    def rotation(self) -> Float64Array:
        """The optical frame's axes in the base frame, as columns."""
        return matrix_from_quaternion(self.base_from_camera.quaternion)

    def project(self, points: Float64Array) -> Float64Array:
        """Return the pixel coordinates [n, 2] of points [n, 3] of the base frame [m]."""
        seen = (points - self.base_from_camera.position) @ self.rotation
        image = seen @ self.matrix.T
        return image[:, :2] / image[:, 2:3]

    def depth_of(self, points: Float64Array) -> Float64Array:
        """Return how far ahead of the camera, along its axis, points [n, 3] are [m]."""
        return ((points - self.base_from_camera.position) @ self.rotation)[:, 2]

    def rays(self, pixels: Float64Array) -> Float64Array:
        """Return the directions [n, 3] in the base frame of pixels [n, 2]; one metre along the camera's axis long."""
        ones = np.ones((len(pixels), 1))
        return np.hstack([pixels, ones]) @ np.linalg.inv(self.matrix).T @ self.rotation.T

    def on_plane(self, pixels: Float64Array, height: float) -> Float64Array:
        """Return where the rays of pixels [n, 2] meet the horizontal plane at a height [m], as points [n, 3].

        Raises:
            UserError: a ray does not meet the plane in front of the camera.
        """
        rays = self.rays(pixels)
        drop = height - self.base_from_camera.position[2]
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead = drop / rays[:, 2]
        if not np.all(np.isfinite(ahead) & (ahead > 0)):
            raise UserError(
                f"A pixel of the object looks past the plane at a height of {height:.3f} m: "
                "check the camera's pose (base_from_camera)."
            )
        return self.base_from_camera.position + rays * ahead[:, None]

    def scaled(self, image_size: tuple[int, int]) -> Camera:
        """Return this camera for pictures of another size, scaled and not cut.

        Raises:
            UserError: the sides' proportion differs by more than a hundredth.
        """
        factor = np.array([image_size[1] / self.image_size[1], image_size[0] / self.image_size[0]])
        if abs(factor[0] / factor[1] - 1.0) > 0.01:
            raise UserError(
                f"The video's pictures are {image_size[1]} x {image_size[0]} pixels, but the camera is described for "
                f"{self.image_size[1]} x {self.image_size[0]}: the proportion must be the same (scale, do not cut)."
            )
        matrix = self.matrix.copy()
        matrix[:2] *= factor[:, None]
        return Camera(matrix=matrix, image_size=image_size, base_from_camera=self.base_from_camera)
