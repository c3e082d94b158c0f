# SPDX-License-Identifier: Apache-2.0
"""Which pixels have a colour: by hue and saturation, strict enough for wood beside a red cube; and by example."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image

Mask = NDArray[np.bool_]

# Hue in degrees and half the width of its range; reds and wood differ by 20 degrees and by saturation.
COLOURS: dict[str, tuple[float, float]] = {
    "red": (0.0, 11.0),
    "green": (120.0, 40.0),
    "blue": (222.0, 30.0),
    "yellow": (56.0, 12.0),
}
LEAST_SATURATION = 0.60
LEAST_VALUE = 40
GREY_SATURATION = 0.28
"""Less saturated than this is metal, plastic or paper: an arm, not a coloured thing."""


def hue_saturation(picture: UInt8Image) -> tuple[Any, Any, Any]:
    """Return hue [degrees], saturation [0 to 1] and value [0 to 255] of a picture, each [height, width]."""
    import cv2

    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL)
    return hsv[..., 0] * (360.0 / 255.0), hsv[..., 1] / 255.0, hsv[..., 2]


def colour_mask(picture: UInt8Image, colour: str) -> Mask:
    """Return which pixels of uint8 [height, width, 3] have a colour of COLOURS."""
    hue, saturation, value = hue_saturation(picture)
    centre, width = COLOURS[colour]
    away = np.abs((hue - centre + 180.0) % 360.0 - 180.0)
    mask: Mask = (away < width) & (saturation > LEAST_SATURATION) & (value > LEAST_VALUE)
    return mask


def grey_mask(picture: UInt8Image) -> Mask:
    """Return which pixels have no colour to speak of."""
    _, saturation, _ = hue_saturation(picture)
    mask: Mask = saturation < GREY_SATURATION
    return mask


def colour_at(picture: UInt8Image, column: float, row: float) -> str:
    """Return the colour of COLOURS of the thing that a click in pixels points at.

    Raises:
        UserError: outside of the picture, or no known colour there.
    """
    height, width = picture.shape[:2]
    if not (0 <= column < width and 0 <= row < height):
        raise UserError(
            f"The point {column:g},{row:g} is outside of the picture of {width} x {height} pixels."
        )
    for colour in COLOURS:
        if colour_mask(picture, colour)[int(row), int(column)]:
            return colour
    raise UserError(
        f"The pixel at {column:g},{row:g} has none of the colours {', '.join(COLOURS)}: point at a face of the thing."
    )


def blobs(mask: Mask, fewest: int = 8) -> list[Mask]:
    """Return the connected parts of a mask with at least `fewest` pixels, the largest first."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = [(int(stats[label, cv2.CC_STAT_AREA]), label) for label in range(1, count)]
    return [labels == label for area, label in sorted(areas, reverse=True) if area >= fewest]
