# SPDX-License-Identifier: Apache-2.0
"""Images of what the model imagines: real frames above, predicted next frames below."""

from __future__ import annotations

import numpy as np
import torch

from physgen_control.types import Float32Array, UInt8Image
from physgen_policy.data.windows import Window, max_packs
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.sampling.frame import preview_sampler, sample_frame
from physgen_policy.training.batches import EpisodeTensors
from physgen_policy.training.text_states import TextSource


@torch.no_grad()
def prediction_sample(
    model: PhysGen,
    text_encoder: TextSource,
    codec: FrameCodec,
    episode: EpisodeTensors,
    config: ModelConfig,
    *,
    acts: bool = True,
) -> UInt8Image:
    """Roll the episode's real frames through the cache and draw, for every pack, the frame it predicts to come next.

    Args:
        model: The network.
        text_encoder: Its text encoder, or its states.
        codec: In whose latents frames are imagined.
        episode: The episode.
        config: The architecture.
        acts: Whether the model knows actions; else they are hidden from it.

    Returns:
        uint8 [2 rows, packs x columns, 3]: per pack the real next frame above the predicted one.
    """
    horizon = config.action.horizon
    packs = max_packs(len(episode.actions), 0, config.context_packs, horizon)
    window = Window(0, packs, True)
    device = model.action_tokenizer.slot.device
    states, lengths = text_encoder.encode([episode.instruction])
    context = model.start(model.text_tokens(states.to(device), lengths.to(device)))
    generator = torch.Generator().manual_seed(0)
    latents = episode.latents.to(device).float().unsqueeze(1)
    shown = latents if episode.imagined is None else episode.imagined.to(device).float().unsqueeze(1)
    real, imagined = [], []
    for n in range(window.num_packs):
        step = n * horizon
        past = None
        if n and acts:
            past = torch.from_numpy(episode.actions[step - horizon : step])[None].to(device)
        output = model.append(context, latents[step // episode.picture_every], past)
        coming = torch.from_numpy(_chunk(episode.actions, step, horizon))[None].to(device) if acts else None
        condition = model.frame_condition(
            context.anchor, output.frame_hidden, shown[step // episode.picture_every], coming
        )
        latent = sample_frame(model, condition, preview_sampler(config), generator)
        following = min((step + horizon) // episode.picture_every, len(latents) - 1)
        real.append(codec.decode(shown[following])[0].cpu().numpy())
        imagined.append(codec.decode(latent.float())[0].cpu().numpy())
    return np.concatenate([np.concatenate(real, axis=1), np.concatenate(imagined, axis=1)])


def _chunk(actions: Float32Array, step: int, horizon: int) -> Float32Array:
    """Return the chunk from a step on [horizon, a]; at the end of the episode the last action goes on."""
    chunk = actions[step : step + horizon]
    return np.concatenate([chunk, np.repeat(chunk[-1:], horizon - len(chunk), axis=0)])
