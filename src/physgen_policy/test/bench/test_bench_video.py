# SPDX-License-Identifier: Apache-2.0
"""Figures of predicted frames: known values of the measures, tracked things, the whole command on random weights."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from tiny_checkpoint import VIEW, tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_control.errors import UserError
from physgen_policy.bench.image_quality import BEST_DB, SSIM_C1, moving_pixels, psnr, ssim
from physgen_policy.bench.tracking import BLUE, GREEN, GRIPPER, track_error
from physgen_policy.bench.video import Scores, filmed_episodes
from physgen_policy.commands import bench_video
from physgen_policy.data.dataset import Dataset


def flat(*colour: int, size: tuple[int, int] = (24, 48)) -> np.ndarray:
    image = np.empty((*size, 3), np.uint8)
    image[:] = colour
    return image


def test_psnr_has_its_known_values():
    """Off by ten levels everywhere: 20 log10(25.5); nothing off: the best; a region counts alone."""
    a, b = flat(100, 100, 100), flat(110, 110, 110)
    assert psnr(a, b) == pytest.approx(20 * np.log10(25.5))
    assert psnr(a, a) == BEST_DB
    b[:, :24] = a[:, :24]
    where = np.zeros((24, 48), bool)
    where[:, 24:] = True
    assert psnr(a, b, where) == pytest.approx(20 * np.log10(25.5))
    assert psnr(a, b) == pytest.approx(20 * np.log10(25.5) + 10 * np.log10(2))
    assert moving_pixels(a, b).sum() == 0 and moving_pixels(a, flat(126, 100, 100)).all()


def test_ssim_has_its_known_values():
    """Equal pictures 1; two flat ones by the formula; any other by a plain loop over windows."""
    a, b = flat(100, 100, 100), flat(120, 120, 120)
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a, b) == pytest.approx((2 * 100 * 120 + SSIM_C1) / (100**2 + 120**2 + SSIM_C1))
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 256, (13, 14, 3), dtype=np.uint8) for _ in range(2))
    assert ssim(x, y) == pytest.approx(_plain_ssim(x, y))


def _plain_ssim(x: np.ndarray, y: np.ndarray) -> float:
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for channel in range(3):
        a, b = x[..., channel].astype(float), y[..., channel].astype(float)
        for row in range(5, a.shape[0] - 5):
            for column in range(5, a.shape[1] - 5):
                place = np.s_[row - 5 : row + 6, column - 5 : column + 6]
                ma, mb = (window * a[place]).sum(), (window * b[place]).sum()
                va, vb = (window * a[place] ** 2).sum() - ma**2, (window * b[place] ** 2).sum() - mb**2
                cov = (window * a[place] * b[place]).sum() - ma * mb
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                found.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(found))


def test_things_are_found_by_their_colour():
    """The largest patch counts; the distance is of centres; a thing that is not there is infinitely far."""
    wood = flat(200, 120, 70, size=(VIEW, 2 * VIEW))
    true, moved, gone = wood.copy(), wood.copy(), wood.copy()
    true[10:14, 8:12] = (40, 60, 180)
    true[30:31, 2:5] = (40, 60, 180)
    moved[13:17, 12:16] = (40, 60, 180)
    assert track_error(BLUE, moved, true) == pytest.approx(5.0)
    assert track_error(BLUE, gone, true) == np.inf
    assert track_error(BLUE, true, gone) is None and track_error(GREEN, true, true) is None
    arm = wood.copy()
    arm[2:20, 10:20] = (170, 170, 175)
    place = GRIPPER.find(arm[:, :VIEW])
    assert place is not None and place[0] == pytest.approx(15.5) and place[1] == pytest.approx(14.5)
    scores = Scores((BLUE,))
    for image in (moved, gone):
        scores.add(image, true, true)
    assert scores.result()["track_px"] == {
        "blue cube": {"mean": pytest.approx(5.0), "median": pytest.approx(5.0), "frames": 2, "not_found": 1}
    }


def test_episodes_are_the_held_out_ones(tmp_path):
    """Chosen as training chooses, whole chunks alone; where there is none, a sentence."""
    data = Dataset(write_tiny_dataset(tmp_path / "data", tiny_embodiment()))
    films = filmed_episodes(data, 4, count=0, share=0.5, every_episode=True)
    assert [len(film.chunks) for film in films] == [3, 3] and len(films[0].pictures) == 4
    np.testing.assert_array_equal(films[0].pictures[1], data.images(0)[4])
    np.testing.assert_array_equal(films[0].chunks[2], data.actions(0)[8:12])
    assert len(filmed_episodes(data, 4, count=1, share=0.5, every_episode=True)) == 1
    with pytest.raises(UserError, match="no held-out episode of at least 13 steps"):
        filmed_episodes(data, 13, count=0, share=0.5, every_episode=True)


def test_the_command_writes_numbers_and_pictures(tmp_path, capsys):
    """On random weights: the keys that are promised, codec and copy beside them, a picture and a plot."""
    frames = {"prediction": "v", "up": True, "present": True, "next_actions": True}
    path = write_tiny_checkpoint(tmp_path / "tiny", model={"frames": frames})
    data = write_tiny_dataset(tmp_path / "data", tiny_embodiment())
    out = tmp_path / "out" / "video.json"
    threads = torch.get_num_threads()
    words = ["--checkpoint", str(path), "--dataset", str(data), "--all-episodes", "--json", str(out)]
    assert bench_video.main([*words, "--rollout", "2"]) == 0
    torch.set_num_threads(threads)
    result = json.loads(out.read_text())
    for name in ("predicted", "codec", "copy"):
        assert {"psnr", "ssim", "psnr_moving"} <= result["next_frame"][name].keys()
    assert result["next_frame"]["copy"]["frames"] == 2 and result["episodes"] == 2
    assert [row["sampler"] for row in result["samplers"]] == ["mean", "8 x 10, T 0.5", "8 x 10, T 1"]
    assert len(result["rollout"]) == 1 and result["rollout"][0]["frames"] == 2  # episodes of one whole chunk
    assert result["seconds_per_frame"] > 0
    assert iio.imread(out.with_suffix(".png")).shape[1] >= 2 * VIEW
    assert out.with_name("video-horizon.png").is_file()
    assert "nothing moves" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--rollout", "0"], ["--episodes", "-1"], ["--held-out", "0"]])
def test_impossible_arguments_are_refused(words, tmp_path):
    """One sentence that names the argument."""
    with pytest.raises(UserError, match=words[0]):
        bench_video.main(["--checkpoint", "x", "--dataset", str(tmp_path), *words])
