# SPDX-License-Identifier: Apache-2.0
"""Pictures with a map of numbers over them: where a policy looks, and where a prediction is wrong."""

from __future__ import annotations

import numpy as np
from PIL import Image

from physgen_control.types import Float32Array, UInt8Image

WARM = np.array([255, 80, 0], np.float32)
COLD = np.array([20, 24, 40], np.float32)
WRONG_LEVELS = 64.0
"""Mean difference of the colours of a pixel [levels of 255] from which it has the full colour."""


def attention_overlay(picture: UInt8Image, shares: Float32Array) -> UInt8Image:
    """Return a picture with warm colour where most attention is, the darker the less there is.

    Args:
        picture: uint8 [y, x, 3].
        shares: Not negative, float32 [rows, columns], on a grid over the picture; only the ratio to the largest counts.
    """
    size = (picture.shape[1], picture.shape[0])
    grid = Image.fromarray((shares / max(float(shares.max()), 1e-9)).astype(np.float32))
    weight = np.asarray(grid.resize(size, Image.Resampling.BILINEAR))[..., None].clip(0.0, 1.0)
    shown = picture * (0.45 + 0.55 * weight)
    mixed: UInt8Image = (shown + 0.35 * weight * (WARM - shown)).clip(0, 255).astype(np.uint8)
    return mixed


def error_map(picture: UInt8Image, truth: UInt8Image) -> UInt8Image:
    """Return where a picture differs from the true one: dark where it is right, warm where it is wrong.

    Args:
        picture: uint8 [y, x, 3].
        truth: Of the same size.
    """
    difference = np.abs(picture.astype(np.float32) - truth.astype(np.float32)).mean(axis=-1, keepdims=True)
    colours: UInt8Image = (COLD + (difference / WRONG_LEVELS).clip(0.0, 1.0) * (WARM - COLD)).astype(np.uint8)
    return colours
