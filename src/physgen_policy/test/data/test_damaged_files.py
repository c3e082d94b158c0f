# SPDX-License-Identifier: Apache-2.0
"""Damaged checkpoints, datasets and training configurations: data or a UserError, whatever the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from file_mutants import check_reader, damaged_copy
from lerobot_folder import write_lerobot_folder
from tiny_checkpoint import tiny_config, tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_policy.checkpoint import load_checkpoint, resolve_checkpoint
from physgen_policy.cost.parameters import model_info, read_config
from physgen_policy.data.dataset import Dataset
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.peer.description import read_lerobot_description
from physgen_policy.training.config import load_config
from physgen_policy.training.start import load_start_codec

TRAIN_CONFIGS = Path(__file__).parents[2] / "physgen_policy" / "config" / "train"


def read_checkpoint(path: Path) -> None:
    """All that the policy node, `model-info` and a fine-tune read."""
    loaded = load_checkpoint(resolve_checkpoint(str(path), ""))
    assert loaded.norm.action_dim == len(loaded.norm.half_range)
    assert isinstance(loaded.embodiment.robot, str) and loaded.embodiment.control_rate_hz > 0
    assert all(isinstance(name, str) for name in (*loaded.embodiment.cameras, *loaded.embodiment.tasks))
    describe_model(path)


def describe_model(path: Path) -> None:
    info = model_info(read_config(str(path)))
    assert info["total_parameters"] > 0


def read_dataset(path: Path) -> None:
    """All that a training run reads; what belongs together has one length."""
    dataset = Dataset(path)
    total = 0
    for index in range(len(dataset)):
        actions, images = dataset.actions(index), dataset.images(index)
        assert (
            actions.dtype == np.float32
            and actions.ndim == 2
            and len(actions) == dataset.entries[index]["steps"]
        )
        assert images.dtype == np.uint8 and images.shape[1:] == (32, 64, 3)
        assert len(dataset.labels(index)) == len(dataset.intervention(index)) == len(actions)
        assert isinstance(dataset.entries[index]["instruction"], str)
        total += len(images)
    assert total == dataset.num_frames


def continue_dataset(path: Path) -> None:
    """`convert` into a dataset that is there already."""
    writer = DatasetWriter(path, tiny_embodiment())
    assert not writer.holds("0" * 64, "no such bag")
    writer.finish()


def read_config_file(path: Path) -> None:
    # Some of the shipped ones leave the dataset to the command line.
    config = load_config(path, {"dataset": ["one"]}, {"steps": 3})
    assert all(isinstance(folder, str) for folder in config.dataset)
    assert isinstance(config.policy.steps, int) and isinstance(config.policy.learning_rate, int | float)
    assert isinstance(config.architecture, dict)


def read_codec(path: Path) -> None:
    load_start_codec(path, tiny_config())


class Mutants:
    """Good folders of every kind, and damaged copies of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = [write_tiny_checkpoint(folder / "checkpoint")]
        self.datasets = [write_tiny_dataset(folder / "dataset", tiny_embodiment())]
        self.configs = sorted(TRAIN_CONFIGS.glob("*tiny.yaml"))
        self.lerobots = [write_lerobot_folder(folder / "lerobot")]
        codec = folder / "codec"
        codec.mkdir()
        from safetensors.torch import save_file

        save_file(build_frame_codec(tiny_config()).state_dict(), codec / "codec.safetensors")
        (codec / "codec.json").write_text(json.dumps({"scaling_factor": 0.5}))
        self.codecs = [codec]

    def make(self, kind: str) -> Callable[[Random], Path]:
        good = getattr(self, kind)

        def mutant(random: Random) -> Path:
            source = random.choice(good)
            return damaged_copy(source, self.folder / f"mutant{source.suffix}", random)

        return mutant


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Mutants:
    return Mutants(tmp_path_factory.mktemp("files"))


CASES = [
    ("checkpoints", read_checkpoint, 1500),
    ("checkpoints", describe_model, 500),
    ("datasets", read_dataset, 1500),
    ("datasets", continue_dataset, 500),
    ("configs", read_config_file, 1500),
    ("lerobots", read_lerobot_description, 250),
    ("codecs", read_codec, 250),
]


@pytest.mark.parametrize(("kind", "read", "count"), CASES)
def test_good_files_are_read(mutants: Mutants, kind: str, read: Callable[[Path], None], count: int) -> None:
    del count
    for path in getattr(mutants, kind):
        read(path)


@pytest.mark.parametrize(("kind", "read", "count"), CASES)
def test_some_damaged_files(mutants: Mutants, kind: str, read: Callable[[Path], None], count: int) -> None:
    check_reader(range(count // 25), mutants.make(kind), read)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "read", "count"), CASES)
def test_many_damaged_files(mutants: Mutants, kind: str, read: Callable[[Path], None], count: int) -> None:
    check_reader(range(1000, 1000 + count), mutants.make(kind), read)
