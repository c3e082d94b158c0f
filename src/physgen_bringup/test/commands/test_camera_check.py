# SPDX-License-Identifier: Apache-2.0
"""What `physgen camera` says of a camera that stands, was bumped, or sees something else; and the reference itself."""

from pathlib import Path

import numpy as np
import pytest
from numbered_bags import write_bag
from PIL import Image

from physgen_bringup.commands.camera import main as camera
from physgen_control.errors import UserError
from physgen_policy.contract.splice import resize_view
from physgen_policy.runtime.camera_check import CameraCheck, read_picture


def scene(seed: int = 0) -> np.ndarray:
    """Blobs of several sizes, uint8 [160, 160, 3]."""
    rng = np.random.default_rng(seed)
    layers = [resize_view(rng.integers(0, 256, (n, n, 3), np.uint8), 160, 160) for n in (10, 40)]
    return np.mean(layers, axis=0).astype(np.uint8)


def seen(full: np.ndarray, right: int = 0, down: int = 0) -> np.ndarray:
    return np.ascontiguousarray(full[16 - down : 144 - down, 16 - right : 144 - right])


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    Image.fromarray(seen(scene())).save(tmp_path / "reference.png")
    return tmp_path / "reference.png"


def check(reference: Path, picture: np.ndarray, *words: str) -> int:
    path = reference.with_name("now.png")
    Image.fromarray(picture).save(path)
    return camera(["check", "--reference", str(reference), "--picture", str(path), *words])


def test_a_camera_that_stands_is_taken(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(reference, seen(scene(), 2, 1)) == 0
    assert "stands where it stood: 2.2 pixels apart, allowed are 3" in capsys.readouterr().out


def test_a_bumped_camera_is_named_with_its_shift(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(reference, seen(scene(), -9, 5), "--out", str(tmp_path / "apart.png")) == 1
    said = capsys.readouterr().out
    assert "shifted by 10.3 pixels of 128 (-9.0 to the right, +5.0 down), allowed are 3" in said
    assert read_picture(tmp_path / "apart.png").shape == (128, 3 * 128, 3)


def test_a_larger_picture_is_compared_in_the_size_of_the_reference(reference: Path) -> None:
    assert check(reference, resize_view(seen(scene()), 480, 480)) == 0


def test_another_scene_is_told_from_a_shift(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(reference, seen(scene(7))) == 1
    assert "does not see the scene" in capsys.readouterr().out


def test_the_reference_of_recordings_leaves_out_what_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every recording begins with the same picture of the numbered bags, whatever its seed."""
    for seed in range(3):
        write_bag(tmp_path / "bags" / f"{seed}", 4, seed=seed)
    (tmp_path / "bags" / "2" / "metadata.yaml").write_text("broken: [")
    out = tmp_path / "cell" / "reference.png"
    assert camera(["reference", str(tmp_path / "bags"), "--out", str(out), "--size", "32"]) == 0
    assert "left out" in capsys.readouterr().out
    assert read_picture(out).shape == (32, 32, 3)
    assert camera(["check", "--reference", str(out), "--bag", str(tmp_path / "bags" / "0")]) in (0, 1)


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_file_that_is_no_picture_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_picture(tmp_path / "x.png")


def test_the_difference_shows_all_three(reference: Path) -> None:
    shown = CameraCheck(read_picture(reference), 3.0).difference(seen(scene()))
    assert (shown[:, 256:] == 0).all() and (shown[:, :128] == shown[:, 128:256]).all()


@pytest.mark.parametrize("size", [(8, 128), (128, 2000)])
def test_a_reference_of_an_unusable_size_is_a_sentence(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="sides of 16 to 1024"):
        CameraCheck(np.zeros((*size, 3), np.uint8), 3.0)
