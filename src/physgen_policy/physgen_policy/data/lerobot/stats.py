# SPDX-License-Identifier: Apache-2.0
"""Statistics in the form that LeRobot datasets carry: per feature min, max, mean, std, count and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MAX_IMAGES = 100
"""Images of an episode that the statistics look at."""
MAX_SIDE = 150
"""Images are thinned out to about this many pixels per side."""

Stats = dict[str, NDArray[Any]]


def vector_stats(values: NDArray[Any]) -> Stats:
    """Return statistics of each component of values [n, d], n >= 1; `count` has shape [1], the others [d]."""
    table = np.asarray(values, np.float64)
    return {
        "min": table.min(axis=0),
        "max": table.max(axis=0),
        "mean": table.mean(axis=0),
        "std": table.std(axis=0),
        "count": np.array([len(table)]),
        **{name: np.quantile(table, share, axis=0) for name, share in QUANTILES.items()},
    }


def sampled_images(count: int) -> list[int]:
    """Return which of `count` images the statistics look at, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, MAX_IMAGES))})


def image_stats(images: Sequence[NDArray[np.uint8]]) -> Stats:
    """Return statistics of each colour over images [y, x, 3], scaled to 0 .. 1; shape [3, 1, 1], `count` in images."""
    thinned = []
    for image in images:
        step = max(1, max(image.shape[:2]) // MAX_SIDE)
        thinned.append(image[::step, ::step].reshape(-1, 3))
    found = vector_stats(np.concatenate(thinned) / 255.0)
    return {
        name: np.array([len(images)]) if name == "count" else value.reshape(3, 1, 1)
        for name, value in found.items()
    }


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """Return statistics of all together: exact but for the quantiles, which are weighted means, as in LeRobot."""
    counts = np.concatenate([part["count"] for part in parts]).astype(np.float64)
    weights = counts / counts.sum()

    def weighted(values: NDArray[Any]) -> NDArray[Any]:
        return np.tensordot(weights, values, axes=1)

    means = np.stack([part["mean"] for part in parts])
    mean = weighted(means)
    variance = weighted(np.stack([part["std"] for part in parts]) ** 2 + (means - mean) ** 2)
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
        **{name: weighted(np.stack([part[name] for part in parts])) for name in QUANTILES},
    }
