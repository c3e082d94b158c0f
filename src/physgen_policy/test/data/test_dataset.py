# SPDX-License-Identifier: Apache-2.0
"""Datasets with a picture per N control steps, and those that were written before there was an N."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import VIEW, tiny_embodiment, write_tiny_dataset

from physgen_control.types import PICTURE_INTERVALS
from physgen_policy.data.dataset import Dataset, DatasetError, EpisodeRecord
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.training.codec_stage import FramePool
from physgen_policy.training.latents import dataset_fingerprint


def episode(steps: int, every: int, source: str, images: int = -1) -> EpisodeRecord:
    """Image k has the brightness of its control step."""
    count = steps // every + 1 if images < 0 else images
    brightness = every * np.arange(count, dtype=np.uint8)
    return EpisodeRecord(
        images=np.broadcast_to(brightness[:, None, None, None], (count, VIEW, 2 * VIEW, 3)).copy(),
        actions=np.arange(7 * steps, dtype=np.float32).reshape(steps, 7),
        labels=np.ones(steps, bool),
        intervention=np.zeros(steps, bool),
        task="FakePush-v0",
        seed=0,
        instruction="push",
        success=True,
        source=source,
        picture_every=every,
    )


def as_format_2(folder: Path) -> None:
    """Rewrite the index as it was before entries said `picture_every` and two hashes."""
    path = folder / "dataset.json"
    index = json.loads(path.read_text())
    index["format"] = 2
    for entry in index["episodes"]:
        assert entry.pop("picture_every") == 1
        del entry["bag_sha256"], entry["sha256"]
    path.write_text(json.dumps(index, indent=1) + "\n")


def test_episodes_of_different_intervals_share_a_dataset(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, tiny_embodiment())
    for every in PICTURE_INTERVALS:
        writer.add(episode(13, every, str(every)))
    writer.finish()
    dataset = Dataset(tmp_path)
    assert [dataset.picture_every(index) for index in range(len(dataset))] == [1, 2, 4, 8]
    assert [len(images) for _, images in dataset.iter_images()] == [14, 7, 4, 2]
    assert dataset.num_frames == 27
    assert len(FramePool([dataset], 100, np.random.default_rng(0)).frames) == 27
    assert dataset.images(2)[:, 0, 0, 0].tolist() == [0, 4, 8, 12]


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    """Every fourth image of an array was once stored as its first ones."""
    whole = episode(13, 1, "a")
    views = replace(whole, images=whole.images[::4], actions=whole.actions[:, ::-1], picture_every=4)
    writer = DatasetWriter(tmp_path, tiny_embodiment())
    writer.add(views)
    writer.finish()
    np.testing.assert_array_equal(Dataset(tmp_path).images(0), views.images)
    np.testing.assert_array_equal(Dataset(tmp_path).actions(0), views.actions)


@given(st.integers(1, 40), st.sampled_from(PICTURE_INTERVALS), st.sampled_from([-1, 1]))
def test_an_episode_has_exactly_its_pictures(steps: int, every: int, off: int) -> None:
    count = steps // every + 1
    assert len(episode(steps, every, "a").images) == count
    with pytest.raises(DatasetError, match=f"needs {count} images, got {count + off} images"):
        episode(steps, every, "a", count + off)


def test_format_2_is_read_and_continued(tmp_path: Path) -> None:
    """It had a picture at every step; an episode with fewer may be added."""
    write_tiny_dataset(tmp_path, tiny_embodiment())
    as_format_2(tmp_path)
    before = Dataset(tmp_path)
    assert [before.picture_every(index) for index in (0, 1)] == [1, 1]
    assert before.num_frames == 26
    writer = DatasetWriter(tmp_path, tiny_embodiment())
    writer.add(episode(12, 4, "sparse"))
    writer.finish()
    after = Dataset(tmp_path)
    assert json.loads((tmp_path / "dataset.json").read_text())["format"] == 4
    assert [after.picture_every(index) for index in (0, 1, 2)] == [1, 1, 4]


@pytest.mark.parametrize("old", [False, True])
def test_other_pixels_in_a_file_of_the_same_size_are_encoded_anew(old: bool, tmp_path: Path) -> None:
    """The latent cache once looked at the sizes of files, which are equal whatever the pictures show."""
    for folder, light in (("day", 0), ("night", 1)):
        writer = DatasetWriter(tmp_path / folder, tiny_embodiment())
        record = episode(12, 1, "a")
        writer.add(replace(record, images=record.images + np.uint8(light)))
        writer.finish()
        if old:
            as_format_2(tmp_path / folder)
    day, night = (Dataset(tmp_path / folder) for folder in ("day", "night"))
    assert (day.folder / day.entries[0]["file"]).stat().st_size == (
        night.folder / night.entries[0]["file"]
    ).stat().st_size
    assert dataset_fingerprint(day) != dataset_fingerprint(night)
    assert dataset_fingerprint(day) == dataset_fingerprint(Dataset(tmp_path / "day"))


def test_a_damaged_index_is_a_sentence(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path, tiny_embodiment())
    path = tmp_path / "dataset.json"
    index = json.loads(path.read_text())
    index["episodes"][1]["picture_every"] = 3
    path.write_text(json.dumps(index))
    with pytest.raises(DatasetError, match="picture_every 3; convert the bags again"):
        Dataset(tmp_path)
    path.write_text(json.dumps(index | {"format": 1}))
    with pytest.raises(DatasetError, match="has format 1, expected 4"):
        Dataset(tmp_path)
