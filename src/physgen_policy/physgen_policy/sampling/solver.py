# SPDX-License-Identifier: Apache-2.0
"""Solvers that turn noise into samples: pure functions of (noise prediction, start, timesteps). State is fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from physgen_policy.sampling.schedule import NoiseSchedule

NoiseFn = Callable[[Tensor, int], Tensor]  # (x, timestep) -> predicted noise, same shape as x
StepNoise = Callable[[int], Tensor]  # index of the step -> standard normal like x


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """How actions are denoised. clip bounds the predicted clean sample in normalised units; None leaves it free."""

    kind: Literal["ddim", "ddpm"] = "ddim"
    steps: int = 10
    clip: float | None = 1.2

    def __post_init__(self) -> None:
        if self.kind not in ("ddim", "ddpm"):
            raise ValueError(f'the sampler kind must be "ddim" or "ddpm", got {self.kind!r}')
        if self.steps < 1:
            raise ValueError(f"the sampler needs at least 1 step, got {self.steps}")


def ddim(
    eps_fn: NoiseFn,
    x: Tensor,
    timesteps: Sequence[int],
    schedule: NoiseSchedule,
    *,
    clip: float | None = None,
) -> Tensor:
    """Deterministic DDIM (eta 0); the last step lands on the noise level of timestep 0."""
    x = x.float()
    alphas = schedule.alphas_cumprod
    stride = schedule.num_steps // len(timesteps)
    for timestep in timesteps:
        noise = eps_fn(x, timestep).float()
        alpha = float(alphas[timestep])
        before = float(alphas[max(timestep - stride, 0)])
        clean = _clean(x, noise, alpha, clip)
        x = before**0.5 * clean + (1 - before) ** 0.5 * noise
    return x


def ddpm(
    eps_fn: NoiseFn,
    x: Tensor,
    timesteps: Sequence[int],
    schedule: NoiseSchedule,
    step_noise: StepNoise,
    *,
    clip: float | None = None,
    observe: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """DDPM ancestral sampling with the small fixed variance.

    Args:
        step_noise: standard normal for step i; asked for every step.
        observe: called with (steps done, sample) after each step.
    """
    x = x.float()
    alphas = schedule.alphas_cumprod
    stride = schedule.num_steps // len(timesteps)
    one = torch.ones(())
    for index, timestep in enumerate(timesteps):
        noise = eps_fn(x, timestep).float()
        alpha = alphas[timestep]
        before = alphas[timestep - stride] if timestep - stride >= 0 else one
        step_alpha = alpha / before
        clean = _clean(x, noise, float(alpha), clip)
        mean = (
            float(before.sqrt() * (1 - step_alpha) / (1 - alpha)) * clean
            + float(step_alpha.sqrt() * (1 - before) / (1 - alpha)) * x
        )
        # The floor matters only for the very last step, where the posterior variance is zero.
        variance = float(((1 - before) / (1 - alpha) * (1 - step_alpha)).clamp(min=1e-20))
        x = mean + variance**0.5 * step_noise(index)
        if observe is not None:
            observe(index + 1, x)
    return x


def _clean(x: Tensor, noise: Tensor, alpha: float, clip: float | None) -> Tensor:
    clean = (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
    return clean if clip is None else clean.clamp(-clip, clip)
