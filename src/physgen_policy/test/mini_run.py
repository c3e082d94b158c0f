# SPDX-License-Identifier: Apache-2.0
"""A training run of seconds: a few short episodes and the smallest networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_windows import mini_config

from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.data.dataset import EpisodeRecord
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.training import run as training_run
from physgen_policy.training.config import CodecStage, PolicyStage, TrainConfig


def write_episodes(
    folder: Path,
    count: int,
    picture_every: int = 1,
    pushed: int = 0,
    instructions: tuple[str, ...] = ("push",),
) -> Path:
    """Short episodes whose images and actions say where they are in the episode; their first steps may be no labels."""
    height, width = mini_config().nova.image_size
    writer = DatasetWriter(
        folder, Embodiment(robot="panda", image_height=height, image_width=width // 2, tasks=("FakePush-v0",))
    )
    rng = np.random.default_rng(0)
    for seed in range(count):
        images = np.zeros((13, height, width, 3), np.uint8)
        images[:] = (20 * np.arange(13, dtype=np.uint8))[:, None, None, None]
        actions = rng.normal(0, 0.02, (12, 7)).astype(np.float32)
        actions[:, 6] = -1.0
        writer.add(
            EpisodeRecord(
                images=images[::picture_every],
                actions=actions,
                labels=np.arange(12) >= pushed,
                intervention=np.zeros(12, bool),
                task="FakePush-v0",
                seed=seed,
                instruction=instructions[seed % len(instructions)],
                success=True,
                source=str(seed),
                picture_every=picture_every,
            )
        )
    writer.finish()
    return folder


def mini_config_of_a_run(dataset: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """Two codec steps and four policy steps on a CPU, without validation."""
    monkeypatch.setattr(training_run, "load_preset", lambda _name, _changes: mini_config())
    return TrainConfig(
        name="mini",
        model="mini",
        dataset=(str(dataset),),
        output=str(output),
        device="cpu",
        precision="fp32",
        num_threads=1,
        validation_episodes=0,
        validate_every=2,
        save_every=2,
        log_every=1,
        store_dtype="float32",
        codec=CodecStage(steps=2, batch_size=2, crop=16),
        policy=PolicyStage(steps=4, batch_size=2, warmup_steps=1),
    )
