# SPDX-License-Identifier: Apache-2.0
"""Actions as classes: every number of a normalised action falls into one of equal bins over [-1, 1].

The discrete baseline of the paper's ablation; the bins are those of RT-2 (Brohan et al. 2023) and OpenVLA (Kim et al.
2024), without their tokens: each number is classified on its own, by the network that otherwise denoises.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor


def bin_indices(actions: Tensor, bins: int) -> Tensor:
    """Class of every normalised number: int64, 0 .. bins - 1; what lies beyond [-1, 1] falls into the outer bins."""
    return ((actions.clamp(-1.0, 1.0) + 1.0) * (bins / 2)).long().clamp(max=bins - 1)


def bin_centers(indices: Tensor, bins: int) -> Tensor:
    """The number a class stands for, fp32."""
    return (indices.float() + 0.5) * (2.0 / bins) - 1.0


def bin_losses(logits: Tensor, actions: Tensor, bins: int) -> Tensor:
    """Cross-entropy in units of log(bins), so that guessing costs 1: [..., k, a bins] and [..., k, a] -> [..., k]."""
    scores = logits.float().unflatten(-1, (-1, bins))
    losses = F.cross_entropy(scores.flatten(0, -2), bin_indices(actions, bins).flatten(), reduction="none")
    return losses.view(actions.shape).mean(-1) / math.log(bins)


def most_likely(logits: Tensor, bins: int) -> Tensor:
    """Centre of the likeliest bin: [..., k, a bins] -> fp32 [..., k, a]; NaN where a logit is not finite."""
    scores = logits.unflatten(-1, (-1, bins))
    centers = bin_centers(scores.argmax(-1), bins)
    # argmax would make a number of NaN, and nobody after it could tell.
    return centers.masked_fill(~scores.isfinite().all(-1), float("nan"))
