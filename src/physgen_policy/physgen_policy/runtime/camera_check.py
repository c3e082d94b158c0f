# SPDX-License-Identifier: Apache-2.0
"""Whether the fixed camera still stands where it stood in the demonstrations, by a reference picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from physgen_control.errors import UserError
from physgen_policy.contract.splice import UInt8Image, resize_view
from physgen_policy.contract.view_shift import ViewShift, view_shift

CAMERA = "fixed"
"""The other one moves with the hand: what it sees says nothing about how it is mounted."""

SIDES = (16, 1024)
"""Of a reference [pixels]: fewer show no scene, more keep the node from its work."""


@dataclass(frozen=True, slots=True)
class CameraCheck:
    """Compares pictures with a reference."""

    reference: UInt8Image
    """uint8 [y, x, 3] RGB, in the size that the policy sees."""
    limit: float
    """Largest shift allowed [pixels of the reference]."""

    def __post_init__(self) -> None:
        sides = self.reference.shape[:2]
        if min(sides) < SIDES[0] or max(sides) > SIDES[1]:
            raise UserError(
                f"a reference has sides of {SIDES[0]} to {SIDES[1]} pixels, got {sides[1]}x{sides[0]}: make one with "
                "`physgen camera reference`"
            )

    def shift(self, picture: UInt8Image) -> ViewShift:
        """Return how far a picture, uint8 [y, x, 3] RGB of any size, is shifted, in pixels of the reference."""
        height, width = self.reference.shape[:2]
        return view_shift(self.reference, resize_view(picture, height, width))

    def complaint(self, picture: UInt8Image) -> str:
        """Return why the camera cannot be used, or an empty text."""
        found = self.shift(picture)
        if not found.alike:
            return (
                f"the {CAMERA} camera does not see the scene of the demonstrations; look at it with `physgen camera "
                "check`, or make a new reference of new demonstrations"
            )
        if found.pixels > self.limit:
            return (
                f"the {CAMERA} camera sees the scene shifted by {found.pixels:.1f} pixels of "
                f"{self.reference.shape[1]} ({found.right:+.1f} to the right, {found.down:+.1f} down), allowed are "
                f"{self.limit:g}: put it back, or make a new reference of new demonstrations"
            )
        return ""

    def difference(self, picture: UInt8Image) -> UInt8Image:
        """Return reference, picture and their difference side by side, uint8 [y, 3 x, 3]."""
        height, width = self.reference.shape[:2]
        now = resize_view(picture, height, width)
        apart = np.abs(now.astype(np.int16) - self.reference).clip(0, 127).astype(np.uint8) * 2
        return np.concatenate([self.reference, now, apart], axis=1)


def read_picture(path: Path) -> UInt8Image:
    """Return the pixels of a picture file, uint8 [y, x, 3] RGB.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"the picture {path} cannot be read: {error}") from error
