# SPDX-License-Identifier: Apache-2.0
"""Joins the two camera views into the one image that the model sees: fixed view left, wrist view right.

The same function serves training and the robot. Resizing is antialiased bilinear; equal sizes pass through untouched.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

UInt8Image = NDArray[np.uint8]


def splice_views(fixed: UInt8Image, wrist: UInt8Image, height: int, width: int) -> UInt8Image:
    """Resize both views to [height, width] and place them side by side.

    Args:
        fixed: uint8 [y, x, 3] RGB of the fixed camera.
        wrist: uint8 [y, x, 3] RGB of the wrist camera.
        height: Rows of the result.
        width: Columns of ONE view; the result has twice as many.

    Returns:
        uint8 [height, 2 * width, 3], a new array.

    Raises:
        ValueError: A view is no such image.
    """
    return np.concatenate([resize_view(fixed, height, width), resize_view(wrist, height, width)], axis=1)


def resize_view(image: UInt8Image, height: int, width: int) -> UInt8Image:
    """Return an RGB image uint8 [y, x, 3] as [height, width, 3]; the image itself if it has that size.

    Raises:
        ValueError: It is no such image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a camera image must be uint8 [y, x, 3] RGB, got {image.dtype} {image.shape}")
    if image.shape[:2] == (height, width):
        return image
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(
        planes, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
