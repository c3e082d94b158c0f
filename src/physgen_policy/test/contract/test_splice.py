# SPDX-License-Identifier: Apache-2.0
"""The fixed view is left, the wrist view is right, upright, and equal sizes are not resampled."""

import numpy as np
import pytest

from physgen_policy.contract.splice import splice_views


def test_order_and_identity() -> None:
    """Left half is the fixed view, right half the wrist view, bit for bit."""
    rng = np.random.default_rng(0)
    fixed, wrist = (rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(2))
    spliced = splice_views(fixed, wrist, 128, 128)
    assert (spliced[:, :128] == fixed).all() and (spliced[:, 128:] == wrist).all()


def test_resizing_keeps_orientation_and_level() -> None:
    """A bright top-left quadrant stays top-left; a constant image stays constant."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[:240, :320] = 200
    small = splice_views(image, np.full((480, 640, 3), 77, np.uint8), 128, 128)
    assert small.shape == (128, 256, 3)
    assert (small[10:50, 10:50] == 200).all() and (small[80:, 80:128] == 0).all()
    assert (small[:, 128:] == 77).all()


def test_refuses_floats() -> None:
    """A float image would silently change the range."""
    with pytest.raises(ValueError, match="uint8"):
        splice_views(np.zeros((8, 8, 3)), np.zeros((8, 8, 3), np.uint8), 8, 8)  # type: ignore[arg-type]
