# SPDX-License-Identifier: Apache-2.0
"""Seconds per imagined frame. A frame that would take too long is estimated from a few of its autoregressive steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen_policy.cost.machine import time_calls
from physgen_policy.model.nova import Nova
from physgen_policy.model.schedule import cosine_schedule
from physgen_policy.sampling.frame import generate_set, tokens_per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTime:
    """Seconds of one imagined frame."""

    mode: str
    """What the frame is for, in words."""
    ar_steps: int
    """Autoregressive steps."""
    denoise_steps: int
    """Per autoregressive step."""
    seconds: float
    measured: bool
    """All its steps were run; otherwise it is an estimate."""


def frame_time(nova: Nova, *, mode: str, ar_steps: int, denoise_steps: int, budget: float) -> FrameTime:
    """Time one frame without guidance, batch 1.

    Args:
        nova: The video backbone.
        mode: Name of the row.
        ar_steps: Autoregressive steps; at most as many as the frame has tokens.
        denoise_steps: Per autoregressive step.
        budget: A frame that a first estimate puts above so many seconds is not run as a whole.
    """
    ar_steps = min(ar_steps, nova.config.image_tokens)
    counts = tokens_per_step(nova.config.image_tokens, ar_steps)
    probes = sorted({0, ar_steps // 2, ar_steps - 1})
    device = nova.mask_embed.mask_token.device
    sampled = {step: _step_seconds(nova, counts, step, denoise_steps, device) for step in probes}
    steps = np.arange(ar_steps)
    estimate = float(np.interp(steps, probes, [sampled[step] for step in probes]).sum())
    if estimate > budget:
        return FrameTime(
            mode=mode, ar_steps=ar_steps, denoise_steps=denoise_steps, seconds=estimate, measured=False
        )
    total = sum(
        sampled[step] if step in sampled else _step_seconds(nova, counts, step, denoise_steps, device)
        for step in range(ar_steps)
    )
    return FrameTime(mode=mode, ar_steps=ar_steps, denoise_steps=denoise_steps, seconds=total, measured=True)


def _step_seconds(
    nova: Nova, counts: list[int], step: int, denoise_steps: int, device: torch.device
) -> float:
    config, schedule = nova.config, cosine_schedule()
    order = torch.randperm(config.image_tokens, device=device)[None]
    done, count = sum(counts[:step]), counts[step]
    dtype = nova.mask_embed.mask_token.dtype
    condition = torch.randn(1, config.frame_tokens, config.width, device=device, dtype=dtype)
    patches = torch.randn(1, config.image_tokens, config.patch_dim, device=device)
    noise = torch.randn(1, count, config.patch_dim, device=device)

    def run() -> Tensor:
        return generate_set(
            nova,
            condition,
            patches,
            visible=order[:, :done],
            wanted=order[:, done : done + count],
            start=noise,
            timesteps=schedule.sampling_timesteps(denoise_steps),
            schedule=schedule,
            step_noise=lambda _: noise,
        )

    return time_calls(run, device, 1, warm_up=0)[0]
