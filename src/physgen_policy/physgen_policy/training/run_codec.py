# SPDX-License-Identifier: Apache-2.0
"""The codec of a run: found in its folder, taken from its start, or trained and kept in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_policy.contract.tensor_file import save_file
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec, TrainableCodec, build_frame_codec
from physgen_policy.training.codec_stage import FramePool, train_codec
from physgen_policy.training.config import TrainConfig
from physgen_policy.training.run_place import RunPlace
from physgen_policy.training.start import load_start_codec

MAX_CODEC_FRAMES = 12_000


def run_codec(
    config: TrainConfig,
    place: RunPlace,
    architecture: ModelConfig,
    datasets: list[Dataset],
    taken: FrameCodec | None = None,
) -> tuple[ModelConfig, FrameCodec]:
    """Return the architecture with the codec's scale, and the codec of the run; `taken` is the one of the start.

    Raises:
        UserError: The codec cannot be trained here, cannot be read, or its training diverged.
    """
    stage, folder = config.codec, place.folder / "codec"
    if folder.is_dir():
        return load_start_codec(folder, architecture)
    if taken is None and stage.init_from:
        architecture, taken = load_start_codec(stage.init_from, architecture)
        if not stage.tune:
            return architecture, taken
    codec = build_frame_codec(architecture) if taken is None else taken.requires_grad_(True)
    if not isinstance(codec, TrainableCodec):
        raise UserError(
            f"preset {config.model!r} uses the published video VAE; import it first and pass codec.init_from"
        )
    rng = np.random.default_rng(config.seed)
    place.log.say(f"codec: reading frames of {len(datasets)} dataset(s)")
    held_out = config.validation_share if config.validation_episodes else 0.0
    pool = FramePool(datasets, MAX_CODEC_FRAMES, rng, held_out)
    with place.log.stage("codec", stage.steps) as bar:

        def report(step: int, values: dict[str, float]) -> None:
            bar.update(completed=step, info=f"L1 {values['reconstruction']:.4f}")
            if step % config.log_every == 0:
                place.log.numbers("codec", step, values)

        scale = train_codec(
            codec,
            pool,
            stage,
            seed=config.seed,
            device=place.device,
            autocast_dtype=place.autocast_dtype,
            progress=report,
        )
    if taken is not None and not stage.whiten:
        scale = architecture.vae.scaling_factor  # what follows the codec is used to it
    _save_codec(codec, scale, folder)
    return load_start_codec(folder, architecture)


def _save_codec(codec: FrameCodec, scale: float, folder: Path) -> None:
    """Write a trained codec; the folder is complete or not there."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.cpu().contiguous() for key, value in codec.state_dict().items()}
    save_file(tensors, partial / "codec.safetensors")
    (partial / "codec.json").write_text(json.dumps({"scaling_factor": scale}) + "\n")
    partial.rename(folder)
