# SPDX-License-Identifier: Apache-2.0
"""Reads the depth picture of a sensor, aligned to the colour camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array

MILLIMETRE = 0.001


def read_depth(path: Path) -> Float32Array:
    """Return float32 [y, x], metres along the camera's axis, 0 where nothing was measured.

    Args:
        path: a PNG of 16 bits in millimetres, as depth cameras and ROS write them (16UC1), or a .npy file in metres.

    Raises:
        UserError: there is none, or it is no depth picture.
    """
    if not path.is_file():
        raise UserError(f"There is no depth picture {path}.")
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _png(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path} is no depth picture ({error}): use a PNG of 16 bits in millimetres, or a .npy file in metres."
        ) from error
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise UserError(f"{path} is no depth picture: it has shape {values.shape} and type {values.dtype}.")
    metres = values.astype(np.float32) * (1.0 if np.issubdtype(values.dtype, np.floating) else MILLIMETRE)
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0.0)).astype(np.float32)


def _png(path: Path) -> np.ndarray:
    import cv2

    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("it cannot be read")
    if values.dtype != np.uint16:
        raise ValueError(f"it has {8 * values.dtype.itemsize} bits, not 16")
    return np.asarray(values)
