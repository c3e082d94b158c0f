# SPDX-License-Identifier: Apache-2.0
"""Generates one latent frame: a few sets of masked tokens in random order, each set denoised by the diffusion MLP."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from physgen_policy.model.context import Context
from physgen_policy.model.embeddings import gather_rows, random_normal, unpatchify
from physgen_policy.model.nova import Nova
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import NoiseSchedule, cosine_schedule
from physgen_policy.sampling.solver import ddpm

StartNoise = Callable[[int], Tensor]  # autoregressive step -> standard normal patch vectors [b, n, 16]
DenoiseNoise = Callable[[int, int], Tensor]  # (autoregressive step, denoising step) -> likewise


def tokens_per_step(tokens: int, steps: int) -> list[int]:
    """Cosine rule: round(tokens cos(pi/2 i/steps)) tokens stay masked after step i; every step predicts at least one.

    Raises:
        ValueError: more steps than tokens, or none.
    """
    if not 1 <= steps <= tokens:
        raise ValueError(
            f"the number of autoregressive steps must be 1 to {tokens} (tokens of a frame), got {steps}"
        )
    counts, left = [], tokens
    for step in range(1, steps + 1):
        still_masked = round(tokens * math.cos(math.pi / 2 * step / steps))
        still_masked = max(min(still_masked, left - 1), steps - step)
        counts.append(left - still_masked)
        left = still_masked
    return counts


def generate_frame(
    nova: Nova,
    condition: Tensor,
    *,
    order: Tensor,
    counts: list[int],
    denoise_steps: int,
    schedule: NoiseSchedule,
    start_noise: StartNoise,
    step_noise: DenoiseNoise,
    guidance: float | None = None,
) -> Tensor:
    """Generate one frame per row.

    Args:
        condition: [b, m, d]; with guidance [2 b, m, d], the conditional half first.
        order: token order [b, n]. counts: tokens of each autoregressive step, summing to n.
        guidance: weight g of unconditional + g (conditional - unconditional), or None.

    Returns:
        fp32 latents [b, c, h, w].
    """
    config = nova.config
    rows, tokens = order.shape
    timesteps = schedule.sampling_timesteps(denoise_steps)
    patches = torch.zeros(rows, tokens, config.patch_dim, device=condition.device)
    done = 0
    for step, count in enumerate(counts):
        visible, wanted = order[:, :done], order[:, done : done + count]

        def noise(index: int, step: int = step, wanted: Tensor = wanted) -> Tensor:
            return gather_rows(step_noise(step, index), wanted)

        sample = generate_set(
            nova,
            condition,
            patches,
            visible=visible,
            wanted=wanted,
            start=gather_rows(start_noise(step), wanted),
            timesteps=timesteps,
            schedule=schedule,
            step_noise=noise,
            guidance=guidance,
        )
        patches = patches.scatter(1, wanted[..., None].expand_as(sample), sample)
        done += count
    return unpatchify(patches, config.image_grid, config.image_patch)


def generate_set(
    nova: Nova,
    condition: Tensor,
    patches: Tensor,
    *,
    visible: Tensor,
    wanted: Tensor,
    start: Tensor,
    timesteps: Sequence[int],
    schedule: NoiseSchedule,
    step_noise: Callable[[int], Tensor],
    guidance: float | None = None,
) -> Tensor:
    """One autoregressive step: denoise the patches `wanted` [b, m] given those that are `visible` [b, v].

    Args:
        patches: patch vectors of the frame so far [b, n, 16]; start: noise of the wanted ones [b, m, 16].
        condition, guidance: see generate_frame.

    Returns:
        fp32 [b, m, 16].
    """
    halves = 1 if guidance is None else 2
    masked = nova.masked_tokens(patches.to(condition.dtype).repeat(halves, 1, 1), visible.repeat(halves, 1))
    z = nova.image_encoder(condition, masked, visible.repeat(halves, 1))
    z = gather_rows(z, wanted.repeat(halves, 1))

    def predict(x: Tensor, timestep: int) -> Tensor:
        time = torch.full((len(z), 1), timestep, device=x.device)
        eps: Tensor = nova.image_decoder(x.to(z.dtype).repeat(halves, 1, 1), time, z)
        if guidance is None:
            return eps
        conditional, unconditional = eps.chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    return ddpm(predict, start, timesteps, schedule, step_noise)


def sample_frame(
    model: PhysGen,
    context: Context,
    frame_hidden: Tensor,
    *,
    ar_steps: int,
    denoise_steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Imagine the frame that follows a pack: frame_hidden [b, n, d] -> scaled latent fp32 [b, c, h, w].

    Raises:
        ValueError: the context was started without an anchor, or the step counts do not fit.
    """
    if context.anchor is None:
        raise ValueError("this context was started without an anchor; start it with with_anchor=True")
    nova, rows, device = model.nova, frame_hidden.shape[0], frame_hidden.device
    tokens, patch = nova.config.image_tokens, nova.config.patch_dim

    def noise(*_: int) -> Tensor:
        return random_normal((rows, tokens, patch), generator, device)

    order = torch.rand(rows, tokens, generator=generator, device=generator.device).argsort(dim=1).to(device)
    return generate_frame(
        nova,
        nova.video_encoder.mix(context.anchor, frame_hidden),
        order=order,
        counts=tokens_per_step(tokens, ar_steps),
        denoise_steps=denoise_steps,
        schedule=cosine_schedule(),
        start_noise=noise,
        step_noise=noise,
    )
