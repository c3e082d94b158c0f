# SPDX-License-Identifier: Apache-2.0
"""A small real model and random windows, for tests that run in milliseconds."""

from typing import Any

import torch

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.config import ActionConfig, ModelConfig, NovaConfig, TextEncoderConfig
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.vae_config import VaeConfig

PACKS = 5


def mini_config(**changes: Any) -> ModelConfig:
    """Window of 6 text tokens and 5 packs of 4 frame + 3 action tokens."""
    action: dict[str, Any] = {
        "plan_conditioning": True,
        "past_actions": True,
        "memory_frames": False,
        "attention": "bidirectional",
        "prediction": "epsilon",
        "bins": 256,
        "num_chunks": 3,
    }
    action |= {key: changes.pop(key) for key in list(changes) if key in action}
    return ModelConfig(
        nova=NovaConfig(
            width=32, heads=2, video_depth=2, image_depth=2, head_width=24, head_depth=2, image_size=(64, 64),
            text_dim=16, text_len=6, text_table_rows=8, mixer_rank=4,
        ),
        action=ActionConfig(horizon=3, action_dim=7, dit_width=32, dit_depth=2, dit_heads=2, **action),
        text_encoder=TextEncoderConfig(
            hidden_size=16, intermediate_size=32, num_layers=1, num_heads=2, vocab_size=259,
            max_positions=16, partial_rotary_factor=0.5,
        ),
        vae=VaeConfig(kind="autoencoder_kl", block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_groups=4),
        **changes,
    )  # fmt: skip


def mini_model(config: ModelConfig, seed: int = 0) -> PhysGen:
    """A model whose closed gates and zero outputs are opened, so that every path carries signal."""
    torch.manual_seed(seed)
    model = PhysGen(config)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def make_windows(config: ModelConfig, batch: int = 2, packs: int = PACKS, seed: int = 0) -> WindowBatch:
    """Random windows in which everything exists and the first pack begins an episode."""
    generator = torch.Generator().manual_seed(seed)
    nova, action = config.nova, config.action

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def actions(count: int) -> torch.Tensor:
        return normal(batch, packs, count, action.action_dim).mul(0.5).clamp(-1, 1)

    yes = torch.ones(batch, packs, dtype=torch.bool)
    boa = torch.zeros(batch, packs, dtype=torch.bool)
    boa[:, 0] = True
    states = normal(batch, nova.text_len, nova.text_dim)
    latents = normal(batch, packs + 1, nova.latent_channels, *nova.latent_size)
    return WindowBatch(
        text_states=states,
        text_lengths=torch.full((batch,), 4),
        latents=latents,
        imagined=latents,
        past_actions=actions(action.horizon),
        boa=boa,
        target_actions=actions(action.num_actions),
        target_mask=torch.ones(batch, packs, action.num_actions, dtype=torch.bool),
        pack_mask=yes,
        frame_mask=yes.clone(),
        plan_actions=actions(action.plan_actions),
        plan_mask=yes.clone(),
    )
