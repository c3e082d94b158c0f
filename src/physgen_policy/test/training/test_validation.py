# SPDX-License-Identifier: Apache-2.0
"""What validation says beside the errors: how large attention logits are and whether the instruction is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_windows import PACKS, make_windows, mini_config, mini_model
from tiny_checkpoint import write_tiny_checkpoint

from physgen_policy.checkpoint import Checkpoint, load_checkpoint
from physgen_policy.training.batches import EpisodeTensors
from physgen_policy.training.validation import largest_logit_bound, validate


def episodes(checkpoint: Checkpoint, *instructions: str) -> list[EpisodeTensors]:
    nova = checkpoint.model.config.nova
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    return [
        EpisodeTensors(
            torch.randn(17, nova.latent_channels, *nova.latent_size, generator=generator).half(),
            rng.uniform(-1, 1, (16, 7)).astype(np.float32),
            np.ones(16, bool),
            instruction,
        )
        for instruction in instructions
    ]


def measured(checkpoint: Checkpoint, *instructions: str) -> dict[str, float]:
    config = checkpoint.model.config
    return validate(
        checkpoint.model,
        checkpoint.text_encoder,
        episodes(checkpoint, *instructions),
        config,
        checkpoint.norm,
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Checkpoint:
    return load_checkpoint(write_tiny_checkpoint(tmp_path))


def test_one_instruction_has_nothing_to_be_compared_with(tiny: Checkpoint) -> None:
    assert "instruction_effect" not in measured(tiny, "push", "push")
    assert measured(tiny, "push", "pick it up")["instruction_effect"] > 0


def test_a_policy_that_cannot_see_the_text_shows_no_effect(tiny: Checkpoint) -> None:
    """Its text is the same whatever is said."""
    with torch.no_grad():
        for parameter in tiny.model.nova.text_embed.parameters():
            parameter.zero_()
    assert measured(tiny, "push", "pick it up")["instruction_effect"] == 0.0


def test_no_logit_passes_the_bound_and_it_grows_with_the_queries() -> None:
    config = mini_config()
    model, windows = mini_model(config), make_windows(config)
    scores: list[torch.Tensor] = []

    def run() -> float:
        text = model.text_tokens(windows.text_states, windows.text_lengths)
        with torch.no_grad(), largest_logit_bound(model) as bound:
            model.full(text, windows.latents[:, :PACKS], windows.past_actions, windows.boa)
        return bound()

    block: Any = model.nova.video_encoder.blocks[0].attn
    hook = block.qkv.register_forward_hook(lambda _module, _inputs, out: scores.append(out.detach()))
    before = run()
    hook.remove()
    q, k, _ = scores[0].unflatten(-1, (3, block.heads, -1)).permute(2, 0, 3, 1, 4)
    assert before >= float((q @ k.transpose(-1, -2)).max()) / q.shape[-1] ** 0.5 > 0
    with torch.no_grad():
        encoder_block: Any
        for encoder_block in model.nova.video_encoder.blocks:
            encoder_block.attn.qkv.weight.mul_(10.0)
    assert run() > 10 * before
