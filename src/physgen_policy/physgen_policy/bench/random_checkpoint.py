# SPDX-License-Identifier: Apache-2.0
"""A preset with random weights: what speed and memory are measured with where no trained weights of that size exist.

The text encoder is cut down to one layer. It runs once per instruction, and all of it would be most of the memory.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from physgen_policy.checkpoint import Checkpoint, save_checkpoint
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig, TextEncoderConfig, load_preset
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import build_text_encoder
from physgen_policy.published.checkpoint import NO_ROBOT

BYTE_TOKENS = 259


def random_checkpoint(preset: str, device: torch.device | str = "cpu") -> Checkpoint:
    """Return networks of a preset in float32; the same ones at every call. No graph accepts them, every fine-tune does.

    Raises:
        ConfigError: There is no such preset.
    """
    config = with_small_text_encoder(load_preset(preset))
    torch.manual_seed(0)
    with torch.device(device):
        model, codec = PhysGen(config), build_frame_codec(config)
        text_encoder = build_text_encoder(config)
    for module in (model, codec, text_encoder):
        module.requires_grad_(False).eval()
    with torch.no_grad():
        for parameter in model.action_head.parameters():
            if not parameter.any():  # closed gates and zero outputs would hide mistakes of a comparison
                parameter.normal_(0.0, 0.02)
    height, width = config.nova.image_size
    dim = config.action.action_dim
    return Checkpoint(
        model=model,
        codec=codec,
        text_encoder=text_encoder,
        norm=NormStats(np.zeros(dim, np.float32), np.ones(dim, np.float32), 0),
        embodiment=Embodiment(
            robot=NO_ROBOT,
            image_height=height,
            image_width=width // 2,
            horizon=config.action.horizon,
            num_chunks=config.action.num_chunks,
        ),
        name=f"{preset}-random",
        sha256="0" * 64,
        path=Path(),
    )


def write_random_checkpoint(preset: str, folder: Path) -> Path:
    """Write random_checkpoint(preset) as a checkpoint folder, in bfloat16; return its path.

    Raises:
        ConfigError: There is no such preset.
    """
    made = random_checkpoint(preset)
    return save_checkpoint(
        folder,
        model=made.model,
        codec=made.codec,
        text_encoder=made.text_encoder,
        config=made.model.config,
        norm=made.norm,
        embodiment=made.embodiment,
        dtype=torch.bfloat16,
        training={"random": preset},
    )


def with_small_text_encoder(config: ModelConfig) -> ModelConfig:
    """Return the configuration with a byte-level text encoder of one layer in place of its own."""
    full = config.text_encoder
    small = TextEncoderConfig(
        hidden_size=full.hidden_size,
        intermediate_size=full.hidden_size,
        num_layers=1,
        num_heads=full.num_heads,
        vocab_size=BYTE_TOKENS,
        max_positions=full.max_positions,
        partial_rotary_factor=full.partial_rotary_factor,
    )
    return replace(config, text_encoder=small)
