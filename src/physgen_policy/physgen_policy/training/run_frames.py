# SPDX-License-Identifier: Apache-2.0
"""The frame stage of a run: hidden states once, then steps, validation, samples and checkpoints; resumable."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from physgen_control.errors import UserError
from physgen_policy.checkpoint import Description, checkpoint_tensors, write_checkpoint
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.training.batches import EpisodeTensors
from physgen_policy.training.config import TrainConfig
from physgen_policy.training.frame_pairs import FramePairs, frame_pairs
from physgen_policy.training.frame_stage import FrameTrainer, with_new_frame_side
from physgen_policy.training.networks import Networks, imagined_codec_tensors
from physgen_policy.training.policy_stage import MOST_LEFT_OUT, DivergedError, PolicyData
from physgen_policy.training.resume import plain
from physgen_policy.training.run_place import RunPlace
from physgen_policy.training.samples import prediction_sample

STATE_FOLDER = "policy"
"""Where every run keeps what `--resume` needs."""


def run_frames(
    config: TrainConfig, place: RunPlace, networks: Networks, data: PolicyData, embodiment: Embodiment
) -> Path:
    """Train the frame side of the start and return the checkpoint folder.

    Raises:
        UserError: There is no frame to learn from.
        DivergedError: MOST_LEFT_OUT steps in a row had no finite gradient.
    """
    trainer = FrameTrainer(
        networks.model.to(place.device),
        _pairs(config, place, networks, data.train, only_first=False),
        _pairs(config, place, networks, data.validation, only_first=True) if data.validation else None,
        config.policy,
        seed=config.seed,
        autocast_dtype=place.autocast_dtype,
    )
    place.log.say(f"{len(trainer.train)} pairs of a pack and its next frame to train on")
    state = place.folder / STATE_FOLDER
    if (state / "state.safetensors").is_file():
        trainer.load_state(state)
        place.log.say(f"frames: resumed at step {trainer.step}")
    latest: dict[str, float] = {}
    left_out, begun = 0, time.perf_counter()
    first = trainer.step
    steps = config.policy.steps
    with place.log.stage("frames", steps, trainer.step) as bar:
        while trainer.step < steps:
            values = trainer.train_step()
            step = trainer.step
            left_out = left_out + 1 if values["left_out"] else 0
            if left_out == MOST_LEFT_OUT:
                raise DivergedError(
                    f"the last {MOST_LEFT_OUT} steps before step {step} had no finite gradient; go on from the last "
                    "saved state with --resume and a lower learning_rate"
                )
            per_step = (time.perf_counter() - begun) / (step - first)
            bar.update(completed=step, info=f"frame {values['observation']:.4f}")
            if step % config.log_every == 0:
                place.log.numbers("frames", step, values | {"seconds_per_step": per_step})
            last = step == steps
            if step % config.validate_every == 0 or last:
                latest = trainer.validate()
                place.log.numbers("validation", step, latest)
                losses = {"loss": values["observation"]} | latest
                errors = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
                place.log.say(f"step {step}: {errors}; {per_step:.2f} s/step")
            if step % config.save_every == 0 or last:
                trainer.save_state(state)
                _save(config, place, networks, trainer, data, embodiment, latest)
    folder = place.folder / "checkpoint"
    if not folder.is_dir():
        _save(config, place, networks, trainer, data, embodiment, latest)
    return folder


def _pairs(
    config: TrainConfig,
    place: RunPlace,
    networks: Networks,
    episodes: list[EpisodeTensors],
    *,
    only_first: bool,
) -> FramePairs:
    """Return the hidden states of the episodes; the same ones in a resumed run.

    Raises:
        UserError: No episode has a pack with a next frame.
    """
    with place.log.stage("hidden states", 1) as bar:

        def report(done: int, total: int) -> None:
            bar.update(completed=done, total=total)

        pairs = frame_pairs(
            networks.model,
            networks.text,
            episodes,
            networks.norm,
            rng=np.random.default_rng(config.seed),
            only_first=only_first,
            progress=report,
        )
    if len(pairs) == 0:
        raise UserError("no episode is long enough to show the frame after a chunk")
    return pairs


def _save(
    config: TrainConfig,
    place: RunPlace,
    networks: Networks,
    trainer: FrameTrainer,
    data: PolicyData,
    embodiment: Embodiment,
    metrics: dict[str, float],
) -> None:
    """Write run/checkpoint: the start's tensors as they were stored, with the averaged frame side."""
    assert networks.start is not None  # the configuration insists on one
    training = {
        "config": plain(config.to_dict()),
        "step": trainer.step,
        "validation": metrics,
        "episodes": len(data.train),
        "policy_sha256": networks.start.sha256,
    }
    with trainer.averaged_weights():
        dtype = getattr(torch, config.store_dtype)
        tensors = with_new_frame_side(checkpoint_tensors(networks.start.path), networks.model, dtype)
        if networks.own_imagined_codec is not None:
            codec = imagined_codec_tensors(networks.own_imagined_codec)
            tensors |= {key: value.detach().to(dtype) for key, value in codec.items()}
        description = Description(networks.config, networks.norm, embodiment, training)
        write_checkpoint(place.folder / "checkpoint", tensors, description, None)
        if data.validation:
            sample = prediction_sample(
                networks.model, networks.text, networks.imagined_codec, data.validation[0], networks.config
            )
            place.log.picture("prediction", trainer.step, sample)
