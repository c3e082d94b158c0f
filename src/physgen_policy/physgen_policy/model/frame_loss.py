# SPDX-License-Identifier: Apache-2.0
"""The frame loss of the backbone: masked image encoder, then noise (or v) prediction for the masked patches.

Random choices are made by the caller or by the draw_* functions with an explicit generator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physgen_policy.model.draws import RowDraws
from physgen_policy.model.embeddings import gather_rows, patchify
from physgen_policy.model.frame_config import FramePrediction
from physgen_policy.model.frame_inputs import FrameCondition
from physgen_policy.model.nova import Nova
from physgen_policy.model.schedule import NoiseSchedule

MASK_RATIO_MEAN, MASK_RATIO_STD = 1.0, 0.25  # normal, truncated to [MASK_RATIO_MIN, 1]
MASK_RATIO_MIN = 0.7
NORMALISER_EPS = 1e-5


def draw_visible_ids(rows: int, tokens: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return indices of the visible tokens [rows, v]: one mask ratio for the batch, one random order per row."""
    visible = draw_visible_count(tokens, generator)
    order = torch.rand(rows, tokens, generator=generator, device=generator.device).argsort(dim=1)
    return order[:, :visible].to(device)


def draw_visible_count(tokens: int, generator: torch.Generator) -> int:
    """Return how many tokens of every frame stay visible."""
    low = 0.5 * (1 + math.erf((MASK_RATIO_MIN - MASK_RATIO_MEAN) / MASK_RATIO_STD / math.sqrt(2)))
    uniform = low + (0.5 - low) * torch.rand((), generator=generator, device=generator.device).cpu()
    ratio = MASK_RATIO_MEAN + MASK_RATIO_STD * math.sqrt(2) * float(torch.erfinv(2 * uniform - 1))
    return tokens - min(math.ceil(ratio * tokens), tokens)


def mean_visible_share() -> float:
    """Return the mean share of tokens that stay visible over the draws of draw_visible_count (rounding aside)."""
    lowest = (MASK_RATIO_MEAN - MASK_RATIO_MIN) / MASK_RATIO_STD
    density = (1 - math.exp(-(lowest**2) / 2)) / math.sqrt(2 * math.pi)
    return MASK_RATIO_STD * density / (0.5 * math.erf(lowest / math.sqrt(2)))


def masked_ids(visible_ids: Tensor, tokens: int) -> Tensor:
    """Return all other indices in ascending order: [r, v] -> [r, tokens - v]."""
    hidden = torch.ones(visible_ids.shape[0], tokens, dtype=torch.bool, device=visible_ids.device)
    hidden.scatter_(1, visible_ids, False)
    return hidden.nonzero()[:, 1].view(visible_ids.shape[0], -1)


def noise_errors(
    nova: Nova,
    z: Tensor,
    patches: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    schedule: NoiseSchedule,
    prediction: FramePrediction = "epsilon",
) -> Tensor:
    """Return the squared error per token (mean over the patch) of the predicted noise, or of v.

    Args:
        nova: The video backbone.
        z: Condition [r, n, d].
        patches: Clean patch vectors [r, n, 16].
        noise: [k x r, n, 16], the repeats are the OUTER part of the first axis.
        timesteps: [k x r, n].
        schedule: The noise schedule.
        prediction: What the head predicts.

    Returns:
        fp32 [k x r, n].
    """
    repeats = noise.shape[0] // z.shape[0]
    clean = patches.repeat(repeats, 1, 1)
    noisy = schedule.add_noise(clean, noise, timesteps)
    predicted = nova.image_decoder(noisy.to(z.dtype), timesteps, z.repeat(repeats, 1, 1))
    wanted = schedule.velocity(clean, noise, timesteps) if prediction == "v" else noise
    return (predicted - wanted).square().mean(dim=-1)


def frame_loss(
    nova: Nova,
    condition: FrameCondition,
    latents: Tensor,
    *,
    draws: int,
    schedule: NoiseSchedule,
    rows: RowDraws,
    prediction: FramePrediction = "epsilon",
) -> Tensor:
    """Return the mean squared error of the noise (or v) over the masked tokens of all rows.

    Visible tokens are not even evaluated.

    Args:
        nova: The video backbone.
        condition: Of every frame.
        latents: Target frames, fp32 [r, c, h, w].
        draws: Of the diffusion time per frame.
        schedule: The noise schedule.
        rows: Random numbers per frame.
        prediction: What the head predicts.
    """
    tokens = nova.config.image_tokens
    count = draw_visible_count(tokens, rows.shared)
    visible = rows.uniform(tokens).argsort(dim=1)[:, :count]
    z = nova.image_features(condition.tokens, latents, visible, condition.added)
    hidden = masked_ids(visible, tokens)
    patches = gather_rows(patchify(latents, nova.config.image_patch), hidden)
    noise = rows.repeated_normal(draws, *patches.shape[1:])
    timesteps = rows.repeated_timesteps(draws, schedule.num_steps, hidden.shape[1])
    errors = noise_errors(nova, gather_rows(z, hidden), patches, noise, timesteps, schedule, prediction)
    return errors.mean()


def clip_loss(
    nova: Nova,
    condition: Tensor,
    latents: Tensor,
    *,
    visible_ids: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    schedule: NoiseSchedule,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the video model's own loss on whole clips, with its re-weighting of the first frame.

    Args:
        nova: The video backbone.
        condition: [b, t, m, d].
        latents: [b, t, c, h, w].
        visible_ids: [b x t, v].
        noise: [k x b x t, n, 16], repeats outermost.
        timesteps: [k x b x t, n], repeats outermost.
        schedule: The noise schedule.

    Returns:
        (first-frame part, later-frames part, squared error per token [k x b x t, n]); the total is the sum of both
        parts. A clip of one frame is not re-weighted.
    """
    batch, slots = condition.shape[:2]
    flat = latents.flatten(0, 1)
    z = nova.image_features(condition.flatten(0, 1), flat, visible_ids)
    errors = noise_errors(nova, z, patchify(flat, nova.config.image_patch), noise, timesteps, schedule)
    mask = torch.ones(batch * slots, errors.shape[1], device=errors.device)
    mask.scatter_(1, visible_ids, 0.0)
    mask = mask.repeat(errors.shape[0] // mask.shape[0], 1)
    normalised = (errors * mask / (mask.sum() + NORMALISER_EPS)).view(-1, batch, slots, errors.shape[1])
    if slots == 1:
        return normalised.sum(), torch.zeros((), device=errors.device), errors
    first = slots * normalised[:, :, 0].sum()
    later = slots / (slots - 1) * normalised[:, :, 1:].sum()
    return first, later, errors
