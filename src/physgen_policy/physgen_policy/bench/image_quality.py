# SPDX-License-Identifier: Apache-2.0
"""How close an image is to the true one: PSNR, of the whole or of what moves, and SSIM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from physgen_control.types import UInt8Image

MOVING_LEVELS = 25
"""A pixel moves if one of its colours changes by more than so many of 255 levels; less is noise of the camera."""
LEAST_MOVING_PIXELS = 50
"""With fewer pixels a moving region says nothing."""
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
"""Window of Wang et al. 2004 (IEEE TIP 13, 600): a Gaussian of 11 x 11 pixels."""
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
BEST_DB = 99.0
"""Stands for the PSNR of equal pictures, which is infinite."""


def psnr(image: UInt8Image, truth: UInt8Image, where: NDArray[np.bool_] | None = None) -> float:
    """Return the peak signal-to-noise ratio [dB] of uint8 [y, x, 3], of the pixels `where` bool [y, x] if given."""
    error = (image.astype(np.float64) - truth.astype(np.float64)) ** 2
    mean = float((error if where is None else error[where]).mean())
    return min(BEST_DB, 10.0 * float(np.log10(255.0**2 / mean))) if mean > 0 else BEST_DB


def moving_pixels(before: UInt8Image, after: UInt8Image) -> NDArray[np.bool_]:
    """Return where two images differ by more than noise, bool [y, x]."""
    change = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(axis=-1)
    moving: NDArray[np.bool_] = change > MOVING_LEVELS
    return moving


def ssim(image: UInt8Image, truth: UInt8Image) -> float:
    """Return the structural similarity (Wang et al. 2004) of uint8 [y, x, 3]: mean over colours and whole windows."""
    a, b = image.astype(np.float64), truth.astype(np.float64)

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sigmas, radii = (SSIM_SIGMA, SSIM_SIGMA, 0.0), (SSIM_RADIUS, SSIM_RADIUS, 0)
        smooth: NDArray[np.float64] = ndimage.gaussian_filter(values, sigmas, radius=radii)
        return smooth

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    inner = slice(SSIM_RADIUS, -SSIM_RADIUS)
    return float((luminance * structure)[inner, inner].mean())
