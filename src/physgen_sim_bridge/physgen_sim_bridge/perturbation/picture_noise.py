# SPDX-License-Identifier: Apache-2.0
"""Filters of a picture: what a lens, the air and a sensor do to it. Pure: the same arguments give the same pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from physgen_control.types import Float64Array, UInt8Image

FILTERS = ("gaussian_blur", "motion_blur", "zoom_blur", "fog", "sensor_noise")

# At strength 1, on a picture of 128 pixels; larger pictures are blurred by as much more.
_BLUR_PX = 3.0
_MOTION_PX = 17.0
_ZOOM = 0.22
_FOG = 0.8
_SENSOR = 70.0
_BROKEN_PIXELS = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureNoise:
    """A filter of FILTERS, how strong (0 to 1), and what its random numbers start from; "" is none."""

    filter: str = ""
    strength: float = 0.0
    seed: int = 0


def spoil(picture: UInt8Image, noise: PictureNoise, camera: int, step: int) -> UInt8Image:
    """Return a picture as the filter leaves it, uint8 [height, width, 3]; the given one is not changed.

    Args:
        picture: uint8 [height, width, 3].
        noise: what to do.
        camera: index of the camera, which has a sensor and a dust of its own.
        step: control steps of the episode before it: the sensor's noise is another one in each picture, fog, motion
            and lens stay the same over an episode.

    Raises:
        ValueError: There is no such filter.
    """
    if not noise.filter or noise.strength == 0.0:
        return picture
    pixels = picture.astype(np.float64)
    scale, strength = picture.shape[0] / 128.0, noise.strength
    fixed = np.random.default_rng((noise.seed, camera))
    match noise.filter:
        case "gaussian_blur":
            sigma = _BLUR_PX * strength * scale
            spoiled = ndimage.gaussian_filter(pixels, (sigma, sigma, 0.0), mode="nearest")
        case "motion_blur":
            spoiled = _motion(pixels, _MOTION_PX * strength * scale, fixed.uniform(0.0, math.pi))
        case "zoom_blur":
            spoiled = _zoom(pixels, _ZOOM * strength)
        case "fog":
            spoiled = _fog(pixels, _FOG * strength, fixed)
        case "sensor_noise":
            spoiled = _sensor(pixels, strength, np.random.default_rng((noise.seed, camera, step)))
        case other:
            raise ValueError(f"there is no filter {other!r}")
    return np.clip(np.rint(spoiled), 0, 255).astype(np.uint8)


def _motion(pixels: Float64Array, length: float, angle: float) -> Float64Array:
    """The mean of the picture along a straight way; length [px], angle [rad]."""
    count = max(2, 2 * round(length) + 1)
    total = np.zeros_like(pixels)
    for t in np.linspace(-0.5, 0.5, count):
        offset = (t * length * math.sin(angle), t * length * math.cos(angle), 0.0)
        total += ndimage.shift(pixels, offset, order=1, mode="nearest")
    return total / count


def _zoom(pixels: Float64Array, most: float) -> Float64Array:
    """The mean of the picture at growing sizes about its centre."""
    centre = (np.array(pixels.shape[:2]) - 1) / 2
    factors = np.linspace(0.0, most, 9)
    total = np.zeros_like(pixels)
    for factor in factors:
        size = 1.0 / (1.0 + factor)
        offset = (*(centre - centre * size), 0.0)
        total += ndimage.affine_transform(
            pixels, np.array([size, size, 1.0]), offset=offset, order=1, mode="nearest"
        )
    return total / len(factors)


def _fog(pixels: Float64Array, density: float, rng: np.random.Generator) -> Float64Array:
    """Mixes in light grey, in clouds."""
    clouds = np.zeros(pixels.shape[:2])
    for octave in (4, 8, 16):
        grid = rng.uniform(-1.0, 1.0, (octave, octave))
        factors = [size / octave for size in pixels.shape[:2]]
        clouds += ndimage.zoom(grid, factors, order=1, mode="nearest", grid_mode=True) * (2.0 / octave)
    share = np.clip(density * (1.0 + 0.4 * clouds), 0.0, 1.0)[..., None]
    return np.asarray(pixels * (1.0 - share) + 215.0 * share)


def _sensor(pixels: Float64Array, strength: float, rng: np.random.Generator) -> Float64Array:
    """Gaussian noise on every number, and pixels that are black or white."""
    noisy = pixels + rng.normal(0.0, _SENSOR * strength, pixels.shape)
    broken = rng.uniform(size=pixels.shape[:2])
    share = _BROKEN_PIXELS * strength
    noisy[broken < share / 2] = 0.0
    noisy[broken > 1.0 - share / 2] = 255.0
    return np.asarray(noisy)
