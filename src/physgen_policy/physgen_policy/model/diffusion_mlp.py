# SPDX-License-Identifier: Apache-2.0
"""Per-token diffusion MLP (the checkpoint's image_decoder): predicts the noise of each 2x2 latent patch on its own.

Works on patch vectors, so any subset of the tokens can be evaluated; there is no sampling loop in here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from physgen_policy.model.embeddings import TIME_FREQUENCIES, PatchEmbed, sinusoid

NORM_EPS = 1e-6  # of the norms without affine parameters


class TwoLayer(nn.Module):
    """Linear, SiLU, Linear."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., width]."""
        out: Tensor = self.fc2(F.silu(self.fc1(x)))
        return out


class TimeConditionEmbed(nn.Module):
    """Sum of the embedded diffusion timestep and the projected condition token."""

    def __init__(self, cond_width: int, width: int) -> None:
        super().__init__()
        self.timestep_proj = TwoLayer(2 * TIME_FREQUENCIES, width)
        self.condition_proj = TwoLayer(cond_width, width)

    def forward(self, timesteps: Tensor, z: Tensor) -> Tensor:
        """timesteps [b, 1 or n], z [b, n, cond_width] -> [b, n, width]."""
        time = self.timestep_proj(sinusoid(timesteps, TIME_FREQUENCIES, cosine_first=True).to(z.dtype))
        total: Tensor = self.condition_proj(z) + time
        return total


class AdaptiveNorm(nn.Module):
    """LayerNorm without parameters, then scale and shift read from the condition (and further `extra` vectors)."""

    def __init__(self, width: int, vectors: int) -> None:
        super().__init__()
        self.vectors = vectors
        self.proj = nn.Linear(width, vectors * width)

    def forward(self, x: Tensor, activated: Tensor) -> tuple[Tensor, ...]:
        """x and SiLU(condition), both [..., width] -> modulated x, followed by the vectors after (scale, shift)."""
        scale, shift, *rest = self.proj(activated).chunk(self.vectors, dim=-1)
        normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
        return torch.addcmul(shift, normed.to(shift.dtype), scale + 1), *rest


class DiffusionBlock(nn.Module):
    """x + gate * LN(mlp(modulated x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = AdaptiveNorm(width, 3)
        self.proj = TwoLayer(width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        modulated, gate = self.norm1(x, activated)
        out: Tensor = x + gate * self.norm2(self.proj(modulated))
        return out


class DiffusionMlp(nn.Module):
    """Noise prediction for patch vectors under a condition per token."""

    def __init__(self, *, patch: int, channels: int, cond_width: int, width: int, depth: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(channels, width, patch)
        self.time_cond_embed = TimeConditionEmbed(cond_width, width)
        self.blocks = nn.ModuleList(DiffusionBlock(width) for _ in range(depth))
        self.norm = AdaptiveNorm(width, 2)
        self.head = nn.Linear(width, patch * patch * channels)

    def forward(self, noisy: Tensor, timesteps: Tensor, z: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            noisy: Patch vectors [b, n, 16], ordered (row, column, channel).
            timesteps: Integers [b, n], or [b, 1] for one per image.
            z: Condition [b, n, d].

        Returns:
            fp32 [b, n, 16].
        """
        activated = F.silu(self.time_cond_embed(timesteps, z))
        x = self.patch_embed.embed_patches(noisy)
        for block in self.blocks:
            x = block(x, activated)
        (x,) = self.norm(x, activated)
        out: Tensor = self.head(x).float()
        return out
