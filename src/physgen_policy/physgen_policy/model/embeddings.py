# SPDX-License-Identifier: Apache-2.0
"""Token embeddings of the backbone: patches, text, motion, sine/cosine positions in space and time.

Pure tensor code; parameter names follow the published checkpoint. Position embeddings are [sin, cos] with the column
before the row, while the diffusion timestep embedding is [cos, sin].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RowGenerators = torch.Generator | Sequence[torch.Generator]
"""Of a whole batch, or one generator per row."""

TIME_FREQUENCIES = 128  # of every scalar sinusoid, whatever the width: 256 numbers


def frequencies(count: int, device: torch.device) -> Tensor:
    """10000^(-k / count) for k = 0 .. count-1, fp32 [count]."""
    # exp(-k ln 10000 / count) in fp32 reproduces the reference to 1e-6 at angles of 1000 rad, a float power does not.
    steps = torch.arange(count, dtype=torch.float32, device=device)
    return torch.exp(steps * (-math.log(10000.0) / count))


def sinusoid(values: Tensor, count: int, *, cosine_first: bool = False) -> Tensor:
    """Sine and cosine features of scalars: [...] -> fp32 [..., 2 count]."""
    angles = values.float()[..., None] * frequencies(count, values.device)
    parts = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
    return torch.cat(parts, dim=-1)


def space_table(grid: tuple[int, int], width: int, device: torch.device) -> Tensor:
    """Position table of a row-major token grid: fp32 [rows x columns, width], column features first."""
    rows = torch.arange(grid[0], device=device).repeat_interleave(grid[1])
    columns = torch.arange(grid[1], device=device).repeat(grid[0])
    return torch.cat([sinusoid(columns, width // 4), sinusoid(rows, width // 4)], dim=-1)


def patchify(latents: Tensor, patch: int) -> Tensor:
    """Cut images into patch vectors: [..., c, h, w] -> [..., tokens, patch x patch x c], ordered (row, column, c)."""
    *batch, channels, height, width = latents.shape
    cut = latents.reshape(*batch, channels, height // patch, patch, width // patch, patch)
    lead = range(len(batch))
    c, y, i, x, j = range(len(batch), len(batch) + 5)
    return cut.permute(*lead, y, x, i, j, c).reshape(
        *batch, (height // patch) * (width // patch), patch * patch * channels
    )


def unpatchify(patches: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Inverse of patchify: [b, tokens, patch x patch x c] -> [b, c, h, w]."""
    cut = patches.reshape(patches.shape[0], *grid, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(patches.shape[0], -1, grid[0] * patch, grid[1] * patch)


class PatchEmbed(nn.Module):
    """Linear map of patches, stored as the checkpoint's strided convolution."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, latents: Tensor) -> Tensor:
        """[..., c, h, w] -> [..., tokens, width]."""
        return self.embed_patches(patchify(latents, self.patch))

    def embed_patches(self, patches: Tensor) -> Tensor:
        """Patch vectors [..., patch x patch x c] -> [..., width]."""
        return F.linear(patches, self.proj.weight.permute(0, 2, 3, 1).flatten(1), self.proj.bias)


class TextEmbed(nn.Module):
    """Projects text-encoder states; rows beyond a prompt come from a stored random table, never from the encoder."""

    weight: Tensor

    def __init__(self, table_rows: int, text_dim: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(table_rows, text_dim))
        self.proj = nn.Linear(text_dim, width)
        self.norm = nn.LayerNorm(width)

    def pad(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Replace row j >= length by row j of the table: states [b, l, text_dim], lengths [b]."""
        inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        return torch.where(inside[..., None], states, self.weight[: states.shape[1]].to(states.dtype))

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """[b, l, text_dim] -> [b, l, width]."""
        embedded: Tensor = self.norm(self.proj(self.pad(states, lengths)))
        return embedded


class VideoPosEmbed(nn.Module):
    """Learned function of the time coordinate, shared by frame and action tokens of a slot."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time_proj = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Time coordinates [t] -> [t, width]."""
        features = sinusoid(coordinates, TIME_FREQUENCIES).to(self.norm.weight.dtype)
        embedded: Tensor = self.norm(self.time_proj(features))
        return embedded


class MotionEmbed(nn.Module):
    """Two tokens for optical-flow strength and frame rate. PhysGen does not use them; the checkpoint has them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.flow_proj = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.fps_proj = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, flow: Tensor, fps: Tensor) -> Tensor:
        """Scalars [b], [b] -> [b, 2, width], flow first."""
        tokens = [
            self.flow_proj(sinusoid(flow, TIME_FREQUENCIES)),
            self.fps_proj(sinusoid(fps, TIME_FREQUENCIES)),
        ]
        return torch.stack(tokens, dim=1)


class MaskEmbed(nn.Module):
    """Begin-of-video token and the token that stands for a masked patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bos_token = nn.Parameter(torch.empty(1, width))
        self.mask_token = nn.Parameter(torch.empty(1, width))


def gather_rows(values: Tensor, ids: Tensor) -> Tensor:
    """Select tokens per item: values [b, n, d], ids [b, m] -> [b, m, d]."""
    return values.gather(1, ids[..., None].expand(*ids.shape, values.shape[-1]))


def random_normal(shape: Sequence[int], generator: RowGenerators, device: torch.device) -> Tensor:
    """fp32 standard normal drawn on the generator's device, so that a CPU seed gives the same numbers everywhere.

    With one generator per row, each row is what its generator alone would draw for a batch of one.
    """
    if not isinstance(generator, torch.Generator):
        return torch.cat([random_normal((1, *shape[1:]), row, device) for row in generator])
    return torch.randn(*shape, generator=generator, device=generator.device).to(device)


def random_timesteps(
    steps: int, shape: Sequence[int], generator: torch.Generator, device: torch.device
) -> Tensor:
    """Uniform integers 0 .. steps - 1, drawn like random_normal."""
    return torch.randint(steps, tuple(shape), generator=generator, device=generator.device).to(device)
