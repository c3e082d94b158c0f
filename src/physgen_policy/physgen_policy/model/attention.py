# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention with the faster of two equal implementations for the device and size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from physgen_policy.model.mask import Segments

Visibility = Tensor | Segments | None  # bool mask, runs of rows, or everything

# Below this many scores per head the CPU's fused kernel loses to three matrix products in training: its backward pass
# took 3 times as long for 24 x 24 scores, and as long at 232 x 232.
SMALL_SCORES = 128 * 128


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Visibility = None) -> Tensor:
    """q [b, h, s, e], k and v [b, h, m, e], mask bool, True where visible and broadcastable to [b, h, s, m]."""
    if isinstance(mask, tuple):
        runs = [
            attend(q[:, :, run.start : run.stop], k[:, :, : run.keys], v[:, :, : run.keys], run.mask)
            for run in mask
        ]
        return torch.cat(runs, dim=2)
    small = q.shape[-2] * k.shape[-2] <= SMALL_SCORES
    if q.device.type == "cpu" and q.requires_grad and small:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def stream_dtype(like: Tensor) -> torch.dtype:
    """Type of the residual stream: the autocast type when autocast is on, else that of `like`.

    Keeping the stream in bfloat16 under autocast saves a conversion before every linear layer.
    """
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
