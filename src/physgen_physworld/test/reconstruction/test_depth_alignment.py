# SPDX-License-Identifier: Apache-2.0
"""A network's depth gets its metres from the table, whatever its scale and shift, with things and an arm in the way."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from drawn_scene import RED, camera, draw

from physgen_control.errors import UserError
from physgen_control.types import Float32Array
from physgen_physworld.reconstruction.colours import colour_mask
from physgen_physworld.reconstruction.depth import SensorDepth
from physgen_physworld.reconstruction.depth_alignment import aligned_depth
from physgen_physworld.reconstruction.depth_picture import read_depth

MIDDLE = np.array([0.6, 0.05, 0.02])


def true_depth() -> Float32Array:
    """The table with a cube on it and an arm before it; farther than 3 m a wall."""
    seen = camera()
    rows, columns = np.mgrid[:256, :256]
    rays = seen.rays(np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1))
    ahead = -seen.base_from_camera.position[2] / rays[:, 2]
    depth = np.where((ahead > 0) & (ahead < 3), ahead, 3.0).reshape(256, 256)
    depth[colour_mask(draw(seen, [(MIDDLE, 0.2, RED)], None), "red")] = seen.depth_of(MIDDLE[None])[0] - 0.02
    depth[:120, 90:150] = 0.6
    return depth.astype(np.float32)


@pytest.mark.parametrize(("kind", "scale", "shift"), [("depth", 0.3, 0.2), ("inverse", 2.5, 0.4)])
def test_scale_and_shift_come_from_the_table(
    kind: Literal["depth", "inverse"], scale: float, shift: float
) -> None:
    depth = true_depth()
    told = scale * (depth if kind == "depth" else 1.0 / depth) + shift
    told += np.random.default_rng(0).normal(0.0, 0.002, told.shape)
    found = aligned_depth(told.astype(np.float32), kind, camera())
    table = np.zeros_like(depth, bool)
    table[200:, :] = True
    assert float(np.median(np.abs(found - depth)[table])) < 0.01
    mask = colour_mask(draw(camera(), [(MIDDLE, 0.2, RED)], None), "red")
    assert np.linalg.norm(SensorDepth(depth=found).place(camera(), mask, (0.04, 0.04, 0.04)) - MIDDLE) < 0.025


def test_a_network_that_sees_another_scene_is_refused() -> None:
    noise = np.random.default_rng(0).uniform(0.1, 1.0, (256, 256)).astype(np.float32)
    with pytest.raises(UserError, match="agrees with the table"):
        aligned_depth(noise, "inverse", camera())


def test_depth_pictures_are_read_in_metres(tmp_path: Path) -> None:
    import cv2

    depth = true_depth()
    depth[0, 0] = 0.0
    cv2.imwrite(str(tmp_path / "depth.png"), np.round(1000 * depth).astype(np.uint16))
    np.save(tmp_path / "depth.npy", np.where(depth > 0, depth, np.nan))
    assert np.abs(read_depth(tmp_path / "depth.png") - depth).max() < 0.0006
    assert np.array_equal(read_depth(tmp_path / "depth.npy"), depth)


def test_what_is_no_depth_picture_is_one_sentence(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"PNG")
    np.save(tmp_path / "flat.npy", np.zeros(4, np.float32))
    for name, sentence in (
        ("missing.png", "There is no depth picture"),
        ("colour.png", "8 bits, not 16"),
        ("broken.png", "cannot be read"),
        ("flat.npy", r"shape \(4,\)"),
    ):
        with pytest.raises(UserError, match=sentence):
            read_depth(tmp_path / name)
