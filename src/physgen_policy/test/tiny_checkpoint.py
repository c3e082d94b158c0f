# SPDX-License-Identifier: Apache-2.0
"""A complete checkpoint with random weights, small enough to act in milliseconds; for tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from physgen_policy.checkpoint import save_checkpoint
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.dataset import EpisodeRecord
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import build_text_encoder

VIEW = 32
"""Side of one view in pixels; two of them make the 32 x 64 image of the model."""
VIDEO_VAE = {"kind": "open_sora", "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_groups": 4}
"""The video autoencoder instead of the image one, for `model={"vae": VIDEO_VAE}`."""


PATCH_VAE = {"kind": "patch", "block_out_channels": [8, 8], "latent_channels": 6, "layers_per_block": 1}
"""A codec in which frames are imagined, beside the image one through which the policy sees."""


def tiny_config(model: dict[str, Any] | None = None, **action: object) -> ModelConfig:
    """Two layers, width 32, 1 x 2 frame tokens."""
    return ModelConfig.from_dict(
        {
            "nova": {
                "width": 32,
                "heads": 2,
                "video_depth": 2,
                "image_depth": 2,
                "head_width": 32,
                "head_depth": 1,
                "image_size": [VIEW, 2 * VIEW],
                "text_dim": 16,
                "text_len": 8,
                "text_table_rows": 8,
                "mixer_rank": 4,
            },
            "action": {"dit_width": 32, "dit_depth": 2, "dit_heads": 2, "memory_frames": True, **action},
            "text_encoder": {
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_layers": 1,
                "num_heads": 2,
                "partial_rotary_factor": 0.5,
                "vocab_size": 259,
                "max_positions": 64,
            },
            "vae": {
                "kind": "autoencoder_kl",
                "block_out_channels": [8, 8, 8, 8],
                "layers_per_block": 1,
                "norm_groups": 4,
            },
            **(model or {}),
        }
    )


def tiny_embodiment(**changes: object) -> Embodiment:
    """Matches the fake arm at 20 Hz unless changed."""
    values = {"robot": "panda", "image_height": VIEW, "image_width": VIEW, "tasks": ("PushCube-v1",)}
    return Embodiment(**(values | changes))  # type: ignore[arg-type]


def tiny_norm() -> NormStats:
    """A few millimetres per step."""
    half_range = np.array([0.01, 0.01, 0.01, 0.05, 0.05, 0.05, 1.0], np.float32)
    return NormStats(np.zeros(7, np.float32), half_range, 100)


def write_tiny_checkpoint(
    folder: Path,
    *,
    seed: int = 0,
    action: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    norm: NormStats | None = None,
    **embodiment: object,
) -> Path:
    """Write a checkpoint whose every weight is random, so that outputs depend on every input."""
    torch.manual_seed(seed)
    config = tiny_config(model, **(action or {}))
    network, codec, text = PhysGen(config), build_frame_codec(config), build_text_encoder(config)
    imagined = None if config.frames.codec is None else build_frame_codec(config.of_frames())
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() == 0:
                continue
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.5 * parameter[0].numel() ** -0.5)
            elif not parameter.any():
                parameter.normal_(0.0, 0.1)
    return save_checkpoint(
        folder,
        model=network,
        codec=codec,
        imagined_codec=imagined,
        text_encoder=text,
        config=config,
        norm=norm or tiny_norm(),
        embodiment=tiny_embodiment(**embodiment),
    )


def write_tiny_dataset(folder: Path, embodiment: Embodiment) -> Path:
    """Two short random episodes of the instruction "pick"."""
    writer = DatasetWriter(folder, embodiment)
    rng = np.random.default_rng(0)
    for seed in range(2):
        writer.add(
            EpisodeRecord(
                images=rng.integers(0, 256, (13, VIEW, 2 * VIEW, 3), dtype=np.uint8),
                actions=rng.normal(0, 0.02, (12, 7)).astype(np.float32),
                labels=np.ones(12, bool),
                intervention=np.zeros(12, bool),
                task="PickCube-v1",
                seed=seed,
                instruction="pick",
                success=True,
                source=str(seed),
            )
        )
    writer.finish()
    return folder
