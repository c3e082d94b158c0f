# SPDX-License-Identifier: Apache-2.0
"""From recordings to a camera's place, with what a person should know of how good it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen_control.geometry import quaternion_from_matrix
from physgen_control.types import Pose
from physgen_physworld.calibration.hand_eye import CalibrationError, HandEye, solve_hand_eye
from physgen_physworld.calibration.recordings import TagPictures, tag_pictures
from physgen_physworld.calibration.tags import Tag
from physgen_physworld.camera import Camera

GOOD_PX = 1.0
"""A larger reprojection error than this has a cause that can be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A camera's place and what it was found from."""

    camera: str
    pictures: TagPictures
    found: HandEye

    def scene_camera(self) -> Camera:
        """Return the fixed camera as reconstruction reads it, whose pixels are counted from the picture's corner."""
        pose = self.found.camera
        return Camera(
            matrix=self.pictures.matrix + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]),
            image_size=self.pictures.image_size,
            base_from_camera=Pose(position=pose[:3, 3], quaternion=quaternion_from_matrix(pose[:3, :3])),
        )

    def lines(self) -> list[str]:
        """Return how good it is, in sentences."""
        found, used = self.found, len(self.found.errors_px)
        worst = max(found.errors_px, key=lambda name: found.errors_px[name])
        lines = [
            f"{used} pictures of {self.pictures.looked_at} places at rest were used",
            f"reprojection error {found.rms_px:.2f} pixels, at most {found.errors_px[worst]:.2f} ({worst})",
            f"standard error of the place {1000 * found.position_sigma_m:.1f} mm, of the direction "
            f"{math.degrees(found.rotation_sigma):.2f} degrees (scatter alone)",
        ]
        lines += [f"left out: {reason}" for reason in self.pictures.left_out]
        lines += [f"left out, fits nothing: {name}" for name in found.left_out]
        if found.rms_px > GOOD_PX:
            lines.append(
                f"more than {GOOD_PX:g} pixel is much: is the tag flat and its size right, did camera and tag keep "
                "their places, did the arm stand still?"
            )
        return lines


def calibrate(bags: Sequence[Path], camera: str, tag: Tag) -> Calibration:
    """Find a camera's place.

    Args:
        bags: Recordings in which the tag is seen from many places.
        camera: "fixed", with the tag in the hand, or "wrist", with the tag lying still.
        tag: What to look for.

    Raises:
        CalibrationError: They do not determine the place, or none can be read.
    """
    if not 0.001 <= tag.size_m <= 2.0:
        raise CalibrationError(f"the side of a tag is 0.001 to 2 m, got {tag.size_m:g}")
    if not bags:
        raise CalibrationError("there is no recording; record one with `physgen launch record:=true`")
    pictures = tag_pictures(bags, camera, tag)
    found = solve_hand_eye(pictures.views, pictures.matrix, tag, on_hand=camera == "wrist")
    return Calibration(camera=camera, pictures=pictures, found=found)
