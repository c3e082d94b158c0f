# SPDX-License-Identifier: Apache-2.0
"""Maps over pictures: what is looked at stays bright, what is wrong becomes warm."""

import numpy as np

from physgen_bringup.pictures.overlays import COLD, WARM, attention_overlay, error_map


def test_what_is_looked_at_is_brighter_than_the_rest() -> None:
    picture = np.full((32, 64, 3), 100, np.uint8)
    shares = np.zeros((2, 4), np.float32)
    shares[1, 3] = 0.2
    shown = attention_overlay(picture, shares).astype(int)
    assert shown.shape == picture.shape
    assert shown[28, 60, 0] > 120 and (shown[4, 4] < 60).all()
    np.testing.assert_array_equal(shown, attention_overlay(picture, 5 * shares))  # ratios alone count
    np.testing.assert_array_equal(
        attention_overlay(picture, 0 * shares), attention_overlay(picture, 0 * shares)
    )


def test_only_what_differs_is_warm() -> None:
    truth = np.zeros((8, 8, 3), np.uint8)
    picture = truth.copy()
    picture[2, 3] = 255
    colours = error_map(picture, truth)
    np.testing.assert_array_equal(colours[2, 3], WARM.astype(np.uint8))
    colours[2, 3] = COLD
    assert (colours == COLD.astype(np.uint8)).all()
