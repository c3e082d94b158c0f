# SPDX-License-Identifier: Apache-2.0
"""The networks of a run at step 0: new ones, or those of the checkpoint that the run begins with."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch

from physgen_control.errors import UserError
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import ModelConfig
from physgen_policy.training.config import TrainConfig
from physgen_policy.training.networks import Networks, new_networks, started_networks
from physgen_policy.training.run_codec import run_codec
from physgen_policy.training.run_data import instructions
from physgen_policy.training.run_place import RunPlace
from physgen_policy.training.start import (
    CLIPPED_WARNING,
    Start,
    clipped_share,
    fitting_start,
    frame_start,
    load_start,
)


def first_networks(
    config: TrainConfig,
    place: RunPlace,
    wanted: ModelConfig | None,
    datasets: list[Dataset],
    embodiment: Embodiment,
    fitted: NormStats,
) -> Networks:
    """Return the networks at step 0.

    Args:
        config: The run.
        place: Where it happens.
        wanted: The architecture the run asks for; None takes the checkpoint's.
        datasets: What it is trained on.
        embodiment: What the datasets were recorded with.
        fitted: Statistics of their actions.

    Raises:
        UserError: The start does not fit, or the run folder had another one.
    """
    torch.manual_seed(config.seed)
    start = _start(config, place, wanted, datasets, embodiment, fitted)
    if start is None:
        assert wanted is not None  # TrainConfig refuses "checkpoint" without one
        architecture, codec = run_codec(config, place, wanted, datasets)
        torch.manual_seed(config.seed + 1)
        return new_networks(architecture, codec, fitted)
    if config.codec.tune and config.policy.init_parts != "fitting":
        architecture, codec = run_codec(config, place, start.config, datasets, start.codec)
        start = replace(start, config=architecture, codec=codec)
    torch.manual_seed(config.seed + 1)
    texts = instructions(datasets)
    networks = started_networks(start, config.policy, place.folder, texts, place.autocast_dtype)
    if networks.adapted:
        count = sum(p.numel() for p in networks.model.parameters() if p.requires_grad)
        lora = networks.config.lora
        place.log.say(f"lora: rank {lora.rank}, alpha {lora.alpha}; {count:,} numbers are trained")
    return networks


def _with_imagined_codec(
    config: TrainConfig, place: RunPlace, start: Start, datasets: list[Dataset]
) -> Start:
    """Return the start with the codec that its frame path asks for: the named one, its own, or one that is trained now.

    Raises:
        UserError: The named one does not fit, or the training diverged.
    """
    wanted = start.config.frames.codec
    if wanted is None or (not config.codec.init_from and start.imagined_codec is not None):
        return start
    found, codec = run_codec(config, place, start.config.of_frames(), datasets)
    frames = replace(start.config.frames, codec=found.vae)
    trained = replace(start.config, frames=frames)
    start.model.config = trained
    return replace(start, config=trained, imagined_codec=codec)


def _start(
    config: TrainConfig,
    place: RunPlace,
    wanted: ModelConfig | None,
    datasets: list[Dataset],
    embodiment: Embodiment,
    fitted: NormStats,
) -> Start | None:
    """Return the checkpoint the run begins with, if it was given one; a resumed run insists on the same one.

    Raises:
        UserError: The start does not fit, or the run folder had another one.
    """
    stage = config.policy
    if not stage.init_from:
        return None
    if stage.objective == "frames":
        start = frame_start(stage.init_from, config.architecture, embodiment, fitted)
        start = _with_imagined_codec(config, place, start, datasets)
    elif stage.init_parts == "fitting":
        assert wanted is not None  # TrainConfig refuses "checkpoint"
        architecture, codec = run_codec(config, place, wanted, datasets)
        torch.manual_seed(config.seed + 1)
        start = fitting_start(stage.init_from, architecture, codec, embodiment, fitted)
    else:
        parts = stage.init_parts
        start = load_start(stage.init_from, wanted, embodiment, fitted, stage.norm_stats, parts)
    place.log.say(start.said)
    actions = np.concatenate([d.actions(i) for d in datasets for i in range(len(d))])
    kept = start.norm is not fitted
    if kept and (share := clipped_share(start.norm, actions)) > CLIPPED_WARNING:
        place.log.say(
            f"warning: {share:.0%} of the dataset's action numbers lie beyond the checkpoint's statistics and are "
            "clipped; `norm_stats: dataset` fits new ones"
        )
    record = place.folder / "start.json"
    if record.is_file():
        sha256 = json.loads(record.read_text())["sha256"]
        if sha256 != start.sha256:
            raise UserError(
                f"{place.folder} was started from a checkpoint with SHA-256 {sha256[:12]}, but {stage.init_from} "
                f"now holds {start.sha256[:12]}; bring the old one back or choose another output"
            )
    elif place.is_main:
        values = {"checkpoint": str(start.path), "sha256": start.sha256}
        record.write_text(json.dumps(values) + "\n")
    return start
