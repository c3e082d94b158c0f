# SPDX-License-Identifier: Apache-2.0
"""What is measured: a checkpoint, or a preset with random weights and a text encoder cut down to one layer.

The text encoder runs once per instruction and is no part of a chunk's latency, so a preset does not build all of it.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from physgen_policy.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from physgen_policy.data.normalize import NormStats
from physgen_policy.embodiment import Embodiment
from physgen_policy.model.config import ModelConfig, TextEncoderConfig, load_preset
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import build_text_encoder


def from_checkpoint(name_or_folder: str, device: torch.device) -> Checkpoint:
    """A checkpoint in float32.

    Raises:
        CheckpointError: see resolve_checkpoint and load_checkpoint.
    """
    return load_checkpoint(resolve_checkpoint(name_or_folder, ""), device)


def from_preset(name: str, device: torch.device) -> Checkpoint:
    """A preset with random weights in float32.

    Raises:
        ConfigError: there is no such preset.
    """
    config = _with_small_text_encoder(load_preset(name))
    torch.manual_seed(0)
    with device:
        model, codec = PhysGen(config), build_frame_codec(config)
        text_encoder = build_text_encoder(config)
    for module in (model, codec, text_encoder):
        module.requires_grad_(False).eval()
    with torch.no_grad():
        for parameter in model.action_head.parameters():
            if not parameter.any():  # closed gates and zero outputs would hide mistakes of the comparison
                parameter.normal_(0.0, 0.02)
    height, width = config.nova.image_size
    return Checkpoint(
        model=model,
        codec=codec,
        text_encoder=text_encoder,
        norm=NormStats(np.zeros(7, np.float32), np.ones(7, np.float32), 1),
        embodiment=Embodiment(robot="panda", image_height=height, image_width=width // 2),
        name=f"{name}-random",
        sha256="0" * 64,
        path=Path(),
    )


def stored_in(checkpoint: Checkpoint, dtype: torch.dtype) -> Checkpoint:
    """The same checkpoint with copies of model and codec in another type."""
    if dtype == torch.float32:
        return checkpoint
    return replace(
        checkpoint,
        model=copy.deepcopy(checkpoint.model).to(dtype),
        codec=copy.deepcopy(checkpoint.codec).to(dtype),
    )


def _with_small_text_encoder(config: ModelConfig) -> ModelConfig:
    full = config.text_encoder
    small = TextEncoderConfig(
        hidden_size=full.hidden_size,
        intermediate_size=full.hidden_size,
        num_layers=1,
        num_heads=full.num_heads,
        vocab_size=259,
        max_positions=full.max_positions,
        partial_rotary_factor=full.partial_rotary_factor,
    )
    return replace(config, text_encoder=small)
