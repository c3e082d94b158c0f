# SPDX-License-Identifier: Apache-2.0
"""What a video model in training is worth: errors of the frames that it expects on held-out episodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.windows import Window, max_packs
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_mean import mean_frame
from physgen_policy.model.physgen import PhysGen
from physgen_policy.training.batches import EpisodeTensors, collate, idle_action, window_batch
from physgen_policy.training.text_states import TextSource


@torch.no_grad()
def validate_frames(
    model: PhysGen,
    text_encoder: TextSource,
    episodes: Sequence[EpisodeTensors],
    config: ModelConfig,
    norm: NormStats,
) -> dict[str, float]:
    """Return squared errors of latents on at least one held-out episode, with hidden actions and the true history.

    Returns:
        frame_error: of the mean of the next frame; absent where the frame head has none.
        copy_error: of the present frame in its place.
    """
    action, device = config.action, model.action_tokenizer.slot.device
    errors: dict[str, list[torch.Tensor]] = {"frame_error": [], "copy_error": []}
    for episode in episodes:
        packs = max_packs(len(episode.actions), 0, config.context_packs, action.horizon)
        picked = [(episode, Window(0, packs, True))]
        drawn = collate(picked, horizon=action.horizon, num_chunks=action.num_chunks, idle=idle_action(norm))
        batch = window_batch(drawn, text_encoder).to(device)
        text = model.text_tokens(batch.text_states, batch.text_lengths)
        hidden = model.full(
            text, batch.latents[:, :packs], batch.past_actions, torch.ones_like(batch.boa)
        ).frame_hidden
        exists = (batch.frame_mask & batch.pack_mask)[0]
        present, following = batch.imagined[0, :packs][exists], batch.imagined[0, 1:][exists]
        errors["copy_error"].append((present - following).square().flatten())
        if config.frames.prediction == "v":
            mixes = model.nova.video_encoder.mixer is not None
            anchor = model.nova.anchor(text).expand(len(present), -1, -1) if mixes else None
            condition = model.frame_condition(anchor, hidden[0][exists], present, None)
            errors["frame_error"].append((mean_frame(model, condition) - following).square().flatten())
    return {name: float(torch.cat(parts).mean()) for name, parts in errors.items() if parts}
