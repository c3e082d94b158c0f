# SPDX-License-Identifier: Apache-2.0
"""The most likely path through uncertain positions: measurements with covariances, and a motion that changes little.

Maximum a posteriori with a random acceleration; outliers lose their weight (Huber). Pure NumPy.
"""

from __future__ import annotations

import numpy as np

from physgen_control.types import Float64Array

ACCELERATION = 0.4
"""Usual change of an object's velocity [m/s^2]: a hand starts and stops within a few tenths of a second."""

SPEED = 0.3
"""Usual speed [m/s]: without a measurement a thing is thought to slow down."""

HUBER = 2.5
"""Standard deviations from which on a measurement is thought wrong."""

FLOOR = 4e-4**2
"""No position is known better than this [m^2]."""


def smooth_positions(
    measured: Float64Array, covariances: Float64Array, period_s: float, rounds: int = 4
) -> Float64Array:
    """Return the most likely positions [T, 3].

    Args:
        measured: float64 [T, 3], NaN where there is no measurement.
        covariances: float64 [T, 3, 3] in m^2.
        period_s: from one position to the next [s].
        rounds: of reweighting, so that outliers count less.
    """
    count = len(measured)
    there = np.all(np.isfinite(measured), axis=1)
    information = np.zeros((count, 3, 3))
    information[there] = np.linalg.inv(covariances[there] + FLOOR * np.eye(3))
    values = np.where(there[:, None], measured, 0.0)
    # Second differences [T - 2, T]; the same for the three axes.
    bend = np.zeros((max(count - 2, 0), count))
    for row in range(len(bend)):
        bend[row, row : row + 3] = (1.0, -2.0, 1.0)
    move = np.diff(np.eye(count), axis=0)
    bends, moves = ACCELERATION * period_s**2, SPEED * period_s
    prior = np.kron(bend.T @ bend / bends**2 + move.T @ move / moves**2, np.eye(3))
    prior += 1e-6 * np.eye(3 * count)
    weight = np.ones(count)
    result = values
    for _ in range(rounds):
        normal = prior.copy()
        right = np.zeros(3 * count)
        for index in np.flatnonzero(there):
            block = slice(3 * index, 3 * index + 3)
            normal[block, block] += weight[index] * information[index]
            right[block] = weight[index] * information[index] @ values[index]
        result = np.linalg.solve(normal, right).reshape(count, 3)
        away = result - values
        distance = np.sqrt(np.maximum(np.einsum("ti,tij,tj->t", away, information, away), 1e-12))
        weight = np.minimum(1.0, HUBER / distance)
    return result


def smooth_yaws(measured: Float64Array, variances: Float64Array) -> Float64Array:
    """Return a steady course of yaws [T] that are known up to quarter turns only.

    Each is turned by quarters to the side of the one before, then averaged with its neighbours by its certainty.

    Args:
        measured: float64 [T], NaN where there is none [rad].
        variances: float64 [T], rad^2.
    """
    known = np.flatnonzero(np.isfinite(measured))
    if not len(known):
        return np.zeros(len(measured))
    course = measured[known].copy()
    last, trust = course[0], 1.0 / (variances[known[0]] + 1e-4)
    for row in range(len(known)):
        turn = (course[row] - last + np.pi / 4) % (np.pi / 2) - np.pi / 4
        course[row] = last + turn
        # A follower that believes sharp pictures more than blurred ones.
        gain = 1.0 / (variances[known[row]] + 1e-4)
        last += turn * gain / (gain + 0.5 * trust)
        trust = 0.5 * trust + gain
    everywhere = np.interp(np.arange(len(measured)), known, course)
    weights = np.zeros(len(measured))
    weights[known] = 1.0 / (variances[known] + 1e-4)
    weights += 1e-6
    kernel = np.array([0.25, 0.7, 1.0, 0.7, 0.25])
    top = np.convolve(everywhere * weights, kernel, mode="same")
    return top / np.convolve(weights, kernel, mode="same")
