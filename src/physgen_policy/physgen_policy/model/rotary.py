# SPDX-License-Identifier: Apache-2.0
"""Optional rotary time positions for a small part of every head, pure functions (option rope_t)."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_dims(head_dim: int) -> int:
    """Rotated numbers per head: an eighth, even. The rest keeps the meaning it has in the checkpoint."""
    return max(2, head_dim // 8 // 2 * 2)


def window_positions(
    num_text: int,
    first_pack: int,
    num_packs: int,
    frame_tokens: int,
    action_tokens: int,
    device: torch.device,
) -> Tensor:
    """Time position of every token, fp32 [s]: text 0, frame n, action i of pack n at n - 1 + (i + 1) / actions."""
    packs = torch.arange(first_pack, first_pack + num_packs, dtype=torch.float32, device=device)
    inside = torch.zeros(frame_tokens + action_tokens, device=device)
    inside[frame_tokens:] = torch.arange(1, action_tokens + 1, device=device) / action_tokens - 1.0
    positions = (packs[:, None] + inside).flatten()
    return torch.cat([torch.zeros(num_text, device=device), positions])


def rotation(positions: Tensor, head_dim: int) -> Tensor:
    """Cosine and sine per position and pair: [s] -> fp32 [2, s, pairs]."""
    pairs = rotary_dims(head_dim) // 2
    inverse = 10000.0 ** (-torch.arange(pairs, dtype=torch.float32, device=positions.device) / pairs)
    angles = positions[:, None] * inverse
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate adjacent pairs of the first dimensions of every head: x [b, h, s, head_dim], table from rotation()."""
    pairs = table.shape[-1]
    head, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    even, odd = head[..., 0::2], head[..., 1::2]
    cos, sin = table[0].to(x.dtype), table[1].to(x.dtype)
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
    return torch.cat([turned, rest], dim=-1)
