# SPDX-License-Identifier: Apache-2.0
"""Gives a network's depth its metres: scale and shift from the table, whose plane the calibrated camera knows.

PhysWorld fits them to the sensor's depth of the first picture; the table takes its place. Iteratively reweighted least
squares, so that what is no table (things, an arm, the wall) counts little.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array
from physgen_physworld.camera import Camera

ROUNDS = 30
LEAST_TABLE = 0.2
"""At least this share of the pixels whose rays meet the table has to agree with it."""

AGREES = 0.02
"""A pixel agrees where the aligned depth is this share of the distance from the table's."""

FARTHEST = 3.0
"""Farther than this [m] nobody works: the rays of such pixels are left out."""


def aligned_depth(
    values: Float32Array, kind: Literal["depth", "inverse"], camera: Camera, table_height: float = 0.0
) -> Float32Array:
    """Return depth in metres along the camera's axis, float32 [y, x]; 0 where it would be negative.

    Args:
        values: what the network says, float32 [y, x], of the camera's picture.
        kind: whether that grows with the depth or with its inverse.
        camera: that took the picture.
        table_height: of the table's plane in the base frame [m].

    Raises:
        UserError: most of what should be the table does not agree with any scale and shift.
    """
    table = _table_depth(camera, table_height)
    seen = np.isfinite(table) & np.isfinite(values)
    if not np.any(seen):
        raise UserError("The camera does not see the table: check its pose (base_from_camera).")
    given = values[seen].astype(np.float64)
    wanted = table[seen] if kind == "depth" else 1.0 / table[seen]
    scale, shift = _fit(given, wanted)
    with np.errstate(divide="ignore"):
        found = scale * values.astype(np.float64) + shift
        found = found if kind == "depth" else 1.0 / found
    agrees = np.abs(found[seen] - table[seen]) < AGREES * table[seen]
    if scale <= 0 or float(agrees.mean()) < LEAST_TABLE:
        raise UserError(
            f"The depth network agrees with the table in {100 * float(agrees.mean()):.0f} % of its pixels only: use "
            "the table's plane or a sensor instead, or check the camera's pose."
        )
    usable = np.isfinite(found) & (found > 0)
    return np.where(usable, found, 0.0).astype(np.float32)


def _table_depth(camera: Camera, height: float) -> Float64Array:
    """Return the depth of the table in every pixel [y, x]; NaN where the ray does not meet it nearby."""
    rows, columns = np.mgrid[: camera.image_size[0], : camera.image_size[1]]
    pixels = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    down = camera.rays(pixels)[:, 2]
    with np.errstate(divide="ignore"):
        ahead = (height - camera.base_from_camera.position[2]) / down
    near = np.where((ahead > 0) & (ahead <= FARTHEST), ahead, np.nan)
    return near.reshape(camera.image_size)


def _fit(given: Float64Array, wanted: Float64Array) -> tuple[float, float]:
    """Return scale and shift; the scale of what is usual shrinks with the rounds, as more of the table is found."""
    terms = np.stack([given, np.ones(len(given))], axis=1)
    weight: Float64Array = np.ones(len(given))
    found: Float64Array = np.zeros(2)
    for _ in range(ROUNDS):
        answer = np.linalg.lstsq(terms * weight[:, None], wanted * weight, rcond=None)[0]
        found = np.asarray(answer, np.float64)
        away: Float64Array = np.abs(terms @ found - wanted)
        usual = max(1.4826 * float(np.median(away)), 1e-9)
        weight = 1.0 / (1.0 + (away / usual) ** 2)  # Cauchy: what is far off counts as nothing
    return float(found[0]), float(found[1])
