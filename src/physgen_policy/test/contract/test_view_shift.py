# SPDX-License-Identifier: Apache-2.0
"""A shifted picture tells its shift, whatever moved in it and however bright it is; other scenes are told apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from physgen_policy.contract.view_shift import UInt8Image, view_shift

SIZE = 128


def scene(seed: int, size: int = 4 * (SIZE + 64)) -> UInt8Image:
    """Smooth blobs of many sizes, as a table with things on it, four times finer than the pictures."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize(
                (size, size), Image.Resampling.BICUBIC
            )
        )
        for n in (6, 24, 96)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def seen(full: UInt8Image, right: float, down: float) -> UInt8Image:
    """What a camera sees whose scene is shifted by so many pixels; quarters of a pixel are told apart."""
    top, left = (4 * 32 - round(4 * down), 4 * 32 - round(4 * right))
    crop = full[top : top + 4 * SIZE, left : left + 4 * SIZE].astype(float)
    return crop.reshape(SIZE, 4, SIZE, 4, 3).mean((1, 3)).round().astype(np.uint8)


shifts = st.integers(-100, 100).map(lambda quarters: quarters / 4)


@settings(max_examples=25)
@given(right=shifts, down=shifts, seed=st.integers(0, 5))
def test_the_shift_is_found(right: float, down: float, seed: int) -> None:
    full = scene(seed)
    found = view_shift(seen(full, 0, 0), seen(full, right, down))
    assert found.alike
    assert abs(found.right - right) < 0.5 and abs(found.down - down) < 0.5


@settings(max_examples=15)
@given(
    right=st.integers(-12, 12), down=st.integers(-12, 12), seed=st.integers(0, 5), gain=st.floats(0.5, 1.2)
)
def test_neither_brightness_nor_an_arm_hides_it(right: int, down: int, seed: int, gain: float) -> None:
    """A quarter of the picture is another in both, and the light differs."""
    full, arm, other = scene(seed), scene(seed + 100), scene(seed + 200)
    before, after = seen(full, 0, 0), seen(full, right, down)
    before[:64, :64] = seen(arm, 0, 0)[:64, :64]
    after[20:84, 10:74] = seen(other, 0, 0)[:64, :64]
    found = view_shift(before, np.clip(after * gain, 0, 255).astype(np.uint8))
    assert found.alike
    assert abs(found.right - right) < 0.7 and abs(found.down - down) < 0.7


@given(seed=st.integers(0, 30))
def test_another_scene_is_not_alike(seed: int) -> None:
    assert not view_shift(seen(scene(seed), 0, 0), seen(scene(seed + 1000), 0, 0)).alike


def test_an_empty_picture_is_not_alike() -> None:
    grey = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert not view_shift(seen(scene(0), 0, 0), grey).alike


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        view_shift(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8))
