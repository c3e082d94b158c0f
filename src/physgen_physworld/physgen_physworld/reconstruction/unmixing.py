# SPDX-License-Identifier: Apache-2.0
"""Which pixels a thing covers, where edges are blurred.

A blurred edge mixes the colour of the thing with that of what is behind it. A mask by hue takes most of the mixture for
the thing, so that it seems larger, and by that nearer: 5 % are 4 cm at 0.8 m. Here a pixel is the thing's by how far it
is on the way from its background to one of the thing's own colours.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from physgen_control.types import Float64Array, UInt8Image
from physgen_physworld.reconstruction.colours import Mask

SHADES = 2
"""Colours of a box that are told apart: a bright top and darker sides."""

REACH = 3
"""Pixels around a mask by hue in which the thing may be."""

LEAST_CONTRAST = 40.0
"""Where thing and background differ by less than this many levels, or nobody knows it, the mask by hue has to do."""


LEAST_SHARE = 0.6
"""A pixel of which this share is the thing's is the thing's. More than a half: decoders draw strong colours too wide.
Chosen on 24 held-out clips that had gone through the codec of object_video.yaml."""


def own_colours(picture: UInt8Image, mask: Mask) -> Float64Array:
    """Return the shades [SHADES, 3] of a thing in a sharp picture: medians of its darker and its brighter pixels."""
    pixels = picture[mask].astype(np.float64)
    bright = pixels.sum(axis=1)
    order = np.argsort(bright)
    halves = np.array_split(order, SHADES)
    return np.stack([np.median(pixels[half], axis=0) for half in halves if len(half)])


def backgrounds(pictures: UInt8Image, by_hue: Sequence[Mask]) -> Float64Array:
    """Return what is behind a thing, float64 [y, x, 3]: the median of the pictures in which it is not there; NaN: none.

    Args:
        pictures: uint8 [n, y, x, 3].
        by_hue: of each picture, the pixels that have the thing's hue.
    """
    seen = pictures.astype(np.float32)
    for picture, mask in zip(seen, by_hue, strict=True):
        picture[_around(mask)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a median of nothing
        return np.nanmedian(seen, axis=0).astype(np.float64)


def covered(picture: UInt8Image, background: Float64Array, shades: Float64Array, by_hue: Mask) -> Mask:
    """Return the pixels that the thing covers.

    Args:
        picture: uint8 [y, x, 3].
        background: what is behind the thing, see backgrounds.
        shades: of the thing, see own_colours.
        by_hue: which pixels have its hue; those around them are looked at.
    """
    near = _around(by_hue)
    share = np.zeros(by_hue.shape)
    contrast = np.full(by_hue.shape, np.inf)
    known = np.isfinite(background[near]).all(axis=1)
    behind = np.nan_to_num(background[near])
    away = picture[near].astype(np.float64) - behind
    for shade in shades:
        towards = shade - behind
        length = np.maximum((towards**2).sum(axis=1), 1.0)
        share[near] = np.maximum(share[near], (away * towards).sum(axis=1) / length)
        contrast[near] = np.minimum(contrast[near], np.where(known, np.sqrt(length), 0.0))
    # What a video is unsure of is drawn smeared and pale: its edge is a share of the smear's own peak.
    full = min(1.0, float(np.percentile(share[by_hue], 95))) if by_hue.any() else 1.0
    return np.where(contrast < LEAST_CONTRAST, by_hue, share > LEAST_SHARE * full) & near


def _around(mask: Mask) -> Mask:
    import cv2

    kernel = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
