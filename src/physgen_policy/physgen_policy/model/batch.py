# SPDX-License-Identifier: Apache-2.0
"""Values that go in and out of the model: training windows, losses, outputs of a pack.

Legend: b batch, p packs, n frame tokens, d width, c h w latent, a action_dim; 8 stands for the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBatch:
    """Training windows. Pack n holds frame n and the actions executed just before it; it predicts what comes next."""

    text_states: Tensor
    """fp32 [b, l, text_dim] of the text encoder."""
    text_lengths: Tensor
    """int64 [b]."""
    latents: Tensor
    """Scaled latents of frames 0 .. p, fp32 [b, p + 1, c, h, w]."""
    past_actions: Tensor
    """Actions between frame n - 1 and n, normalised, [b, p, 8, a]; ignored where boa."""
    boa: Tensor
    """bool [b, p], the pack carries the learned begin-of-action tokens."""
    target_actions: Tensor
    """The 24 actions after frame n, normalised, [b, p, 24, a]."""
    target_mask: Tensor
    """bool [b, p, 24], False beyond the episode and from the first step on that is no label."""
    pack_mask: Tensor
    """bool [b, p], valid packs, always a prefix."""
    frame_mask: Tensor
    """bool [b, p], frame n + 1 exists."""
    plan_actions: Tensor
    """The true actions that the previous step's lookahead covers, normalised, [b, p, 16, a]."""
    plan_mask: Tensor
    """bool [b, p], the pack has a plan."""

    def to(self, device: torch.device | str) -> WindowBatch:
        """Return the same windows on another device."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean squared errors of the predicted noise, scalars but for the last."""

    total: Tensor
    """What is minimised."""
    observation: Tensor
    """Of the next frames."""
    action: Tensor
    """Of the next actions."""
    action_per_chunk: Tensor
    """[3], detached, for reporting only."""
    num_actions: Tensor
    """How many actions `action` is the mean of."""
    num_frames: Tensor
    """How many frames `observation` is the mean of."""
    action_hidden: Tensor
    """Outputs at the action slots [b, p, 8, d], for auxiliary losses of the training."""


@dataclass(frozen=True, slots=True)
class PackOutput:
    """Outputs at the slots of one pack, or of p packs with an axis p after b."""

    frame_hidden: Tensor
    """[b, n, d]"""
    action_hidden: Tensor
    """[b, 8, d]"""
