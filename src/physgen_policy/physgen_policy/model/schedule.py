# SPDX-License-Identifier: Apache-2.0
"""The noise schedule as a frozen value: cumulative alphas, noising and sampling timesteps. No step counter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

MAX_BETA = 0.999  # keeps the last step of the cosine schedule invertible


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """Variance-preserving diffusion; the network predicts the noise."""

    betas: Tensor
    """fp32 [steps]."""
    alphas_cumprod: Tensor
    """fp32 [steps]."""

    @property
    def num_steps(self) -> int:
        """Number of training timesteps."""
        return len(self.betas)

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """sqrt(a) clean + sqrt(1 - a) noise in fp32; timesteps must broadcast against clean after a trailing axis."""
        alphas = self.alphas_cumprod.to(clean.device)[timesteps][..., None]
        return alphas.sqrt() * clean.float() + (1 - alphas).sqrt() * noise

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v = sqrt(a) noise - sqrt(1 - a) clean (Salimans and Ho 2022, appendix D); shapes as in add_noise."""
        alphas = self.alphas_cumprod.to(clean.device)[timesteps][..., None]
        return alphas.sqrt() * noise - (1 - alphas).sqrt() * clean.float()

    def noise_from_velocity(self, x: Tensor, velocity: Tensor, timestep: int) -> Tensor:
        """The noise that `velocity` stands for at the noisy sample x."""
        return noise_from_velocity(x, velocity, float(self.alphas_cumprod[timestep]))

    def sampling_timesteps(self, count: int) -> list[int]:
        """Return descending timesteps, "leading" spacing with offset 1: 25 of 1000 give 961, 921 .. 41, 1.

        Raises:
            ValueError: count is not in 1 .. num_steps.
        """
        if not 1 <= count <= self.num_steps:
            raise ValueError(f"the number of denoising steps must be 1 to {self.num_steps}, got {count}")
        stride = self.num_steps // count
        last = self.num_steps - 1
        return [min(index * stride + 1, last) for index in reversed(range(count))]


def noise_from_velocity(x: Tensor, velocity: Tensor, alpha: float) -> Tensor:
    """NoiseSchedule.noise_from_velocity at a level given by its cumulative alpha."""
    return alpha**0.5 * velocity.float() + (1 - alpha) ** 0.5 * x.float()


@lru_cache(maxsize=8)
def cosine_schedule(num_steps: int = 1000) -> NoiseSchedule:
    """The squaredcos_cap_v2 schedule (Nichol and Dhariwal 2021), shared because it is immutable."""

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [
        min(1 - alpha_bar((i + 1) / num_steps) / alpha_bar(i / num_steps), MAX_BETA) for i in range(num_steps)
    ]
    tensor = torch.tensor(betas, dtype=torch.float32)
    return NoiseSchedule(tensor, torch.cumprod(1.0 - tensor, dim=0))
