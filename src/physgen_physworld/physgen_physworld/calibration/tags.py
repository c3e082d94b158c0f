# SPDX-License-Identifier: Apache-2.0
"""AprilTags of the family 36h11 in pictures: the pixels of their corners, and where such a tag may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from physgen_control.types import Float64Array, UInt8Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A printed tag. Its frame has the tag's centre, x to its right, y to its upper edge, z out of the paper."""

    size_m: float
    """Side of the black square [m]."""
    number: int | None = None
    """Number in the family; None: whichever is the only one in a picture."""

    @property
    def corners(self) -> Float64Array:
        """Upper left, upper right, lower right, lower left, float64 [4, 3] in m."""
        half = self.size_m / 2
        return np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])


def find_tag(picture: UInt8Image, tag: Tag) -> Float64Array | None:
    """Return the corners of a tag in a picture, in the order of Tag.corners, to a fraction of a pixel.

    Args:
        picture: uint8 [y, x, 3].
        tag: Which one.

    Returns:
        float64 [4, 2], (column, row) with pixel centres at whole numbers, as CameraInfo counts. None where the tag is
        not seen, or any is meant and several are.
    """
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    found, numbers, _ = _detector().detectMarkers(grey)
    if numbers is None:
        return None
    seen = [
        corners.reshape(4, 2).astype(np.float64)
        for corners, number in zip(found, np.ravel(numbers), strict=True)
        if tag.number is None or int(number) == tag.number
    ]
    return seen[0] if len(seen) == 1 else None


def tag_poses(pixels: Float64Array, matrix: Float64Array, tag: Tag) -> list[Float64Array]:
    """Return the poses of a tag that fit its corners, best first: a flat square seen from afar has two.

    Args:
        pixels: Corners as of find_tag.
        matrix: Intrinsic matrix [3, 3].
        tag: Whose corners they are.

    Returns:
        Up to two camera_from_tag, float64 [4, 4], the camera's frame being the optical one (x right, y down, z ahead).
    """
    import cv2

    count, turns, moves, _ = cv2.solvePnPGeneric(
        tag.corners, pixels, matrix, None, flags=cv2.SOLVEPNP_IPPE_SQUARE
    )
    poses = []
    for index in range(count):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(turns[index])[0]
        pose[:3, 3] = np.ravel(moves[index])
        poses.append(pose)
    return poses


def _detector() -> Any:
    import cv2

    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    return cv2.aruco.ArucoDetector(dictionary, parameters)
