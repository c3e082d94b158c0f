# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention with the faster of two equal implementations for the device and size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from physgen_policy.model.mask import Segments

Visibility = Tensor | Segments | None  # bool mask, runs of rows, or everything

# On a CPU the fused kernel's backward pass is slow where scores are few or of low precision. With scores
# [192, 237, 237] forward and backward took 125 ms in bfloat16, 92 ms in float32, and the matrix products below 60 ms
# in bfloat16 but 190 ms in float32; with 24 x 24 scores the products win in both.
SMALL_SCORES = 128 * 128
SMALL_SCORES_BFLOAT16 = 512 * 512


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Visibility = None) -> Tensor:
    """q [b, h, s, e], k and v [b, h, m, e], mask bool, True where visible and broadcastable to [b, h, s, m]."""
    if isinstance(mask, tuple):
        runs = [
            attend(q[:, :, run.start : run.stop], k[:, :, : run.keys], v[:, :, : run.keys], run.mask)
            for run in mask
        ]
        return torch.cat(runs, dim=2)
    limit = SMALL_SCORES_BFLOAT16 if q.dtype == torch.bfloat16 else SMALL_SCORES
    if q.device.type == "cpu" and q.requires_grad and q.shape[-2] * k.shape[-2] <= limit:
        return _attend_by_products(q, k, v, mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    batch, keys = q.shape[:2], k.flatten(0, 1).transpose(-1, -2)
    queries = (q * q.shape[-1] ** -0.5).flatten(0, 1)
    if mask is None:
        scores = queries @ keys
    else:
        bias = torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, torch.finfo(q.dtype).min)
        bias = bias.expand(*batch, q.shape[-2], k.shape[-2]).flatten(0, 1)
        scores = torch.baddbmm(bias, queries, keys)
    return (scores.softmax(dim=-1) @ v.flatten(0, 1)).unflatten(0, batch)


def stream_dtype(like: Tensor) -> torch.dtype:
    """Type of the residual stream: the autocast type when autocast is on, else that of `like`.

    Keeping the stream in bfloat16 under autocast saves a conversion before every linear layer.
    """
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
