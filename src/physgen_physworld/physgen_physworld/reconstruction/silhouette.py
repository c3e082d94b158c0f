# SPDX-License-Identifier: Apache-2.0
"""The pose of a box of known size from its silhouette: the pose whose drawn outline covers the coloured pixels best.

Least squares over the pixels around the object, the outline drawn with fractional cover, so that the result is finer
than a pixel. The inverse of its normal matrix says how sure each direction is: along the ray much less than across.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float64Array
from physgen_physworld.camera import Camera
from physgen_physworld.reconstruction.colours import Mask
from physgen_physworld.values import square_turn

MARGIN_PX = 6
STEPS = np.array([1e-3, 1e-3, 1e-3, 0.03])
"""Finite differences for x, y, z [m] and yaw [rad]: about a fifth of a pixel on a table."""

PIXEL_NOISE = 0.25
"""Standard deviation of a pixel's cover [1]: hard edges are off by up to a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFit:
    """Where a box is in one picture, and how sure that is."""

    position: Float64Array
    """Its middle [3] in the base frame [m]."""
    yaw: float
    """Its turn about the vertical [rad], up to quarter turns."""
    agreement: float
    """How far its outline and the pixels agree (0 to 1)."""
    visible: float
    """Share of the outline that nothing hides."""
    covariance: Float64Array
    """Float64 [3, 3] of the position [m^2]."""
    yaw_variance: float
    """Of the yaw [rad^2]."""


def corners(position: Float64Array, yaw: float, size: tuple[float, float, float]) -> Float64Array:
    """Return the eight corners [8, 3] of an upright box."""
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * np.array(size)
    c, s = np.cos(yaw), np.sin(yaw)
    return signs @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) + position


class SilhouetteFitter:
    """Fits boxes into one picture of one camera."""

    def __init__(self, camera: Camera, size: tuple[float, float, float]) -> None:
        self._camera = camera
        self._size = size

    def fit(
        self,
        mask: Mask,
        doubt: Float64Array,
        start: Float64Array,
        yaws: tuple[float, ...],
        *,
        fixed_height: bool,
        iterations: int = 10,
    ) -> BoxFit | None:
        """Return the best pose, or None when the mask or the start is not in the picture.

        Args:
            mask: which pixels have the object's colour.
            doubt: how little a pixel of another colour says, 0 to 1 [height, width]: something may be in front.
            start: first guess of the middle [m].
            yaws: first guesses of the yaw [rad]; the best result wins.
            iterations: most steps of the least squares.
            fixed_height: keep the start's z.
            iterations: of Gauss-Newton, at most.
        """
        best: tuple[float, Float64Array, Float64Array] | None = None
        window = self._window(mask, start)
        if window is None:
            return None
        rows, columns = window
        seen = mask[rows, columns].astype(np.float64)
        weight = np.where(mask[rows, columns], 1.0, 1.0 - doubt[rows, columns])
        free = [0, 1, 3] if fixed_height else [0, 1, 2, 3]
        for yaw in yaws:
            values = np.append(start, yaw)
            cost, values, normal = self._optimise(values, free, seen, weight, (rows, columns), iterations)
            if best is None or cost < best[0]:
                best = (cost, values, normal)
        assert best is not None
        _, values, normal = best
        drawn = self._cover(values, (rows, columns))
        both = float((np.minimum(drawn, seen) * weight).sum())
        either = float((np.maximum(drawn, seen) * weight).sum())
        inverse = np.zeros((4, 4))
        inverse[np.ix_(free, free)] = PIXEL_NOISE**2 * np.linalg.pinv(normal)
        return BoxFit(
            position=values[:3],
            yaw=square_turn(float(values[3])),
            agreement=both / either if either > 0 else 0.0,
            visible=float((drawn * weight).sum() / max(drawn.sum(), 1e-9)),
            covariance=inverse[:3, :3],
            yaw_variance=float(inverse[3, 3]),
        )

    def _window(self, mask: Mask, start: Float64Array) -> tuple[slice, slice] | None:
        """Rows and columns around the coloured pixels and the first guess."""
        if not mask.any():
            return None
        outline = self._camera.project(corners(start, 0.0, self._size))
        if not np.all(np.isfinite(outline)):
            return None
        where = np.argwhere(mask)
        low = np.minimum(where.min(axis=0), np.floor(outline.min(axis=0))[::-1]) - MARGIN_PX
        high = np.maximum(where.max(axis=0), np.ceil(outline.max(axis=0))[::-1]) + MARGIN_PX
        low = np.clip(low, 0, mask.shape).astype(int)
        high = np.clip(high + 1, 0, mask.shape).astype(int)
        if np.any(high - low < 2):
            return None
        return slice(low[0], high[0]), slice(low[1], high[1])

    def _cover(self, values: Float64Array, window: tuple[slice, slice]) -> Float64Array:
        """Return which share of each pixel of the window the box's outline covers."""
        import cv2

        rows, columns = window
        points = self._camera.project(corners(values[:3], values[3], self._size))
        outline = cv2.convexHull(points.astype(np.float32), clockwise=True)[:, 0].astype(np.float64)
        along = np.roll(outline, -1, axis=0) - outline
        outward = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.linalg.norm(along, axis=1)[:, None]
        if float(outward[0] @ (outline.mean(axis=0) - outline[0])) > 0:
            outward = -outward
        offset = np.sum(outward * outline, axis=1)
        y = np.arange(rows.start, rows.stop) + 0.5
        x = np.arange(columns.start, columns.stop) + 0.5
        distance = (
            outward[:, 0, None, None] * x[None, None, :] + outward[:, 1, None, None] * y[None, :, None]
        ) - offset[:, None, None]
        # A pixel that the edge cuts in the middle is half covered.
        cover: Float64Array = np.clip(0.5 - distance.max(axis=0), 0.0, 1.0)
        return cover

    def _optimise(
        self,
        values: Float64Array,
        free: list[int],
        seen: Float64Array,
        weight: Float64Array,
        window: tuple[slice, slice],
        iterations: int,
    ) -> tuple[float, Float64Array, Float64Array]:
        """Levenberg and Marquardt's least squares; returns the cost, the pose, the normal matrix of the free ones."""
        damping = 1e-2
        residual = (self._cover(values, window) - seen) * weight
        cost = float((residual**2).sum())
        normal = np.eye(len(free))
        for _ in range(iterations):
            columns = []
            for index in free:
                ahead, behind = values.copy(), values.copy()
                ahead[index] += STEPS[index]
                behind[index] -= STEPS[index]
                slope = (
                    (self._cover(ahead, window) - self._cover(behind, window)) * weight / (2 * STEPS[index])
                )
                columns.append(slope.ravel())
            slopes = np.stack(columns, axis=1)
            normal = slopes.T @ slopes
            gradient = slopes.T @ residual.ravel()
            improved = False
            for _ in range(4):
                damped = normal + damping * np.diag(np.diag(normal) + 1e-9)
                move = np.linalg.lstsq(damped, -gradient, rcond=None)[0]
                trial = values.copy()
                trial[free] += _bounded(move, free)
                trial_residual = (self._cover(trial, window) - seen) * weight
                trial_cost = float((trial_residual**2).sum())
                if trial_cost < cost:
                    values, residual, improved = trial, trial_residual, True
                    cost, damping = trial_cost, max(damping / 5, 1e-6)
                    break
                damping *= 5
            if not improved or float(np.linalg.norm(move[:2])) < 1e-4:
                break
        return cost, values, normal


def _bounded(move: Float64Array, free: list[int]) -> Float64Array:
    """A step no longer than the outline can be trusted: 3 cm and a third of a radian."""
    longest = np.array([0.33 if index == 3 else 0.03 for index in free])
    return np.clip(move, -longest, longest)
