# SPDX-License-Identifier: Apache-2.0
"""How far what was seen is from what was expected: something that nobody meant shows here first.

An expected frame is blurred where the future is open and wrong by a pixel or two at every edge, so the mean colours of
small blocks are compared and not pixels. Most of what moves is the arm, which is grey, and its shadow: where their
edges are wrong, brightness is, and colour is not. The worst colours therefore answer to a thing that is elsewhere or a
camera that was bumped, and the mean of all differences to a lamp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physgen_control.types import UInt8Image

BLOCK = 4
"""Side of a block [pixels]: a cube of 4 cm is two of them wide in the fixed view."""
WORST_SHARE = 0.005
"""The worst blocks of a view are so many of all: five of 1024."""


@dataclass(frozen=True, slots=True)
class PredictionError:
    """Differences of one view, in levels of 255."""

    mean: float
    """Mean over all blocks of the absolute difference, brightness and colour."""
    worst: float
    """Of the worst blocks, in colour alone: root mean square over red, green and blue without what they have in
    common."""


def prediction_error(expected: UInt8Image, seen: UInt8Image) -> PredictionError:
    """Compare an expected view with what was seen, uint8 [y, x, 3] each.

    Raises:
        ValueError: The two are of different shapes, or smaller than a block.
    """
    if expected.shape != seen.shape or min(seen.shape[:2]) < BLOCK:
        raise ValueError(
            f"views to compare are alike and of {BLOCK} pixels at least: {expected.shape}, {seen.shape}"
        )
    apart = _blocks(expected) - _blocks(seen)
    colour = np.sqrt(np.square(apart - apart.mean(axis=-1, keepdims=True)).mean(axis=-1))
    worst = max(1, round(WORST_SHARE * colour.size))
    return PredictionError(
        mean=float(np.abs(apart).mean()), worst=float(np.sort(colour, axis=None)[-worst:].mean())
    )


def compare_views(expected: UInt8Image, seen: UInt8Image) -> tuple[PredictionError, ...]:
    """Compare frames, uint8 [y, 2 x, 3]; return the errors of the fixed and the wrist view."""
    views = zip(np.split(expected, 2, axis=1), np.split(seen, 2, axis=1), strict=True)
    return tuple(prediction_error(*view) for view in views)


def _blocks(view: UInt8Image) -> NDArray[np.float64]:
    """Return the mean colours of the whole blocks, [rows, columns, 3]."""
    rows, columns = (size // BLOCK for size in view.shape[:2])
    whole = view[: rows * BLOCK, : columns * BLOCK].astype(np.float64)
    means: NDArray[np.float64] = whole.reshape(rows, BLOCK, columns, BLOCK, 3).mean(axis=(1, 3))
    return means
