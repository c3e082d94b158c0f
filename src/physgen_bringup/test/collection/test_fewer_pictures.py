# SPDX-License-Identifier: Apache-2.0
"""Demonstrations with a picture per N control steps: the same motions, recorded, converted and trained on."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.collection.run import Collector, make_collector
from physgen_bringup.commands import collect
from physgen_bringup.pictures import bag_tables
from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.errors import UserError
from physgen_policy.commands import train
from physgen_policy.data.dataset import Dataset
from physgen_sim_bridge.disturbance import DisturbanceConfig

TASK = "FakePush-v0"
PERIOD_NS = 50_000_000


def collector(every: int, leader: Path | None = None) -> Collector:
    return make_collector(
        "fake", TASK, tail_steps=3, disturbance=DisturbanceConfig(), leader=leader, picture_every=every
    )


def values(bag: EpisodeRecording) -> np.ndarray:
    return np.stack([action.applied for action in bag.applied])


def assert_same_but_fewer(few: EpisodeRecording, whole: EpisodeRecording, every: int) -> None:
    assert (few.picture_every, whole.picture_every) == (every, 1)
    np.testing.assert_array_equal(values(few), values(whole))
    np.testing.assert_array_equal(few.joints.positions, whole.joints.positions)
    assert [state.success for state in few.sim_states] == [state.success for state in whole.sim_states]
    for camera, stream in few.images.items():
        steps = (stream.stamps_ns - few.episode.start_ns) // PERIOD_NS
        assert steps.tolist() == list(range(0, len(whole.applied) + 1, every))
        for index, step in enumerate(steps):
            np.testing.assert_array_equal(stream.rgb(index), whole.images[camera].rgb(int(step)))


@pytest.mark.parametrize("every", [2, 4, 8])
def test_nothing_but_pictures_is_left_out(tmp_path: Path, every: int) -> None:
    whole = read_episode(collector(1).collect(7, tmp_path / "1").path)
    few = read_episode(collector(every).collect(7, tmp_path / "few").path)
    assert_same_but_fewer(few, whole, every)


def test_a_leading_policy_sees_its_pictures(tmp_path: Path) -> None:
    """It looks at the start of its chunks only, and leads as if there were pictures in between."""
    checkpoint = write_tiny_checkpoint(tmp_path / "leader", tasks=(TASK,))
    bags = [
        read_episode(collector(every, checkpoint).collect(0, tmp_path / str(every)).path) for every in (1, 8)
    ]
    assert int(bags[0].custom_data["led_steps"]) >= 8
    assert_same_but_fewer(bags[1], bags[0], 8)


def test_the_video_of_a_recording_shows_every_step(tmp_path: Path) -> None:
    whole, few = (
        bag_tables.recording_of(read_episode(collector(every).collect(7, tmp_path / str(every)).path))
        for every in (1, 4)
    )
    assert (whole.rate_hz, few.rate_hz) == (20.0, 20.0)
    assert (len(few.fixed), few.picture_every) == (len(whole.actions) // 4 + 1, 4)


def test_from_few_pictures_to_a_policy(tmp_path: Path) -> None:
    """Collected, converted and trained on beside an episode that has them all, with validation and its picture."""
    bags, run = tmp_path / "bags", tmp_path / "run"
    four = collector(4)
    for seed in range(4):
        assert four.collect(seed, bags).success
    assert collector(1).collect(4, bags).success
    base = write_tiny_checkpoint(tmp_path / "base", tasks=(TASK,))
    default = resources.files("physgen_policy").joinpath("config/train/finetune_lora.yaml")
    settings = yaml.safe_load(default.read_text())
    settings["policy"] |= {"steps": 2, "batch_size": 8, "lora_rank": 2, "obs_loss_every": 1}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings | {"device": "cpu", "precision": "fp32", "log_every": 1}))
    words = [str(config), "--finetune", str(base), "--bags", str(bags), "--out", str(run)]
    assert train.main(words) == 0
    dataset = Dataset(run / "dataset")
    assert [dataset.picture_every(index) for index in range(5)] == [4, 4, 4, 4, 1]
    for index, images in dataset.iter_images():
        assert len(images) == len(dataset.actions(index)) // dataset.picture_every(index) + 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["policy", "policy", "validation"]
    assert all(np.isfinite(line["observation"]) for line in lines[:2])
    assert (run / "samples" / "step_000002.png").is_file()


@pytest.mark.parametrize("number", ["3", "0", "16", "-4"])
def test_only_divisors_of_a_chunk_are_accepted(number: str) -> None:
    words = ["--sim", "fake", "--task", TASK, "--picture-every", number]
    with pytest.raises(UserError, match=rf"must divide the 8 control steps .* got {number}"):
        collect.main(words)
