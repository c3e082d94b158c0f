# SPDX-License-Identifier: Apache-2.0
"""Where the things of a task are in a frame's fixed view: found by colour, in true and predicted frames alike.

The rules were made for the shipped cameras of ManiSkill's three tasks and looked at on their frames; a task without
rules has no tracked things, and its benchmark no track error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from physgen_control.types import UInt8Image

Mask = NDArray[np.bool_]
Colours = NDArray[np.int16]
LEAST_PIXELS = 6
"""A smaller patch of a colour is no object."""
LEAST_GRIPPER_PIXELS = 40
FINGER_ROWS = 8
"""The gripper's place is that of the lowest rows of the arm, which are its fingers."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A thing with a name, which is known by its colour."""

    name: str
    where: Callable[[Colours], Mask]
    """Says which pixels have its colour."""
    least_pixels: int = LEAST_PIXELS
    """A smaller patch does not count."""
    lowest_rows: int = 0
    """Only so many of the lowest rows of the patch count; 0 takes all."""

    def find(self, view: UInt8Image) -> NDArray[np.float64] | None:
        """Return the centre (row, column) [pixels] of the largest patch of the colour in a view uint8 [y, x, 3].

        None where there is no patch.
        """
        labels, count = ndimage.label(self.where(view.astype(np.int16)))
        if count == 0:
            return None
        sizes = np.bincount(labels.ravel())[1:]
        rows, columns = np.nonzero(labels == 1 + int(sizes.argmax()))
        if len(rows) < self.least_pixels:
            return None
        if self.lowest_rows:
            low = rows > rows.max() - self.lowest_rows
            rows, columns = rows[low], columns[low]
        return np.array([rows.mean(), columns.mean()])


def _stands_out(colours: Colours, channel: int) -> Mask:
    """Return the pixels in which one colour is far above the two others."""
    others = [c for c in range(3) if c != channel]
    level = colours[..., channel]
    mask: Mask = (level > colours[..., others].max(axis=-1) + 35) & (level > 80)
    return mask


def _grey(colours: Colours) -> Mask:
    """Return the arm's white and grey, neither the dark of shadows nor the white of a goal."""
    spread, level = colours.max(axis=-1) - colours.min(axis=-1), colours.mean(axis=-1)
    mask: Mask = (spread < 32) & (level > 112) & (level < 218)
    return mask


RED = Tracked("red cube", lambda colours: _stands_out(colours, 0))
GREEN = Tracked("green cube", lambda colours: _stands_out(colours, 1))
BLUE = Tracked("blue cube", lambda colours: _stands_out(colours, 2))
GRIPPER = Tracked("gripper", _grey, LEAST_GRIPPER_PIXELS, FINGER_ROWS)

TRACKED: dict[str, tuple[Tracked, ...]] = {
    "PushCube-v1": (BLUE, GRIPPER),
    "PickCube-v1": (RED, GRIPPER),
    "StackCube-v1": (RED, GREEN, GRIPPER),
}


def track_error(thing: Tracked, image: UInt8Image, truth: UInt8Image) -> float | None:
    """Return the distance of a thing in the fixed views of two frames [pixels].

    Returns:
        None where the true frame does not show it; infinity where only the other one does not.
    """
    half = truth.shape[1] // 2
    true, found = thing.find(truth[:, :half]), thing.find(image[:, :half])
    if true is None:
        return None
    return float(np.hypot(*(found - true))) if found is not None else float("inf")
