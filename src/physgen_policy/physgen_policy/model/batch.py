# SPDX-License-Identifier: Apache-2.0
"""Values that go in and out of the model: training windows, losses, outputs of a pack.

Legend: b batch, p packs, n frame tokens, d width, c h w latent, ci h w latent of imagined frames, k actions of a chunk,
a action_dim.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBatch:
    """Training windows. Pack n holds frame n and the actions executed just before it; it predicts what comes next."""

    text_states: Float[Tensor, "b l text_dim"]
    """Of the text encoder."""
    text_lengths: Int[Tensor, " b"]
    """Its tokens that belong to the text."""
    boa: Bool[Tensor, "b p"]
    """The pack carries the learned begin-of-action tokens."""
    latents: Float[Tensor, "b p+1 c h w"]
    """Scaled latents of frames 0 .. p, fp32."""
    imagined: Float[Tensor, "b p+1 ci h w"]
    """The same frames in the latents in which frames are imagined; `latents` itself where there is one codec."""
    past_actions: Float[Tensor, "b p k a"]
    """Actions between frame n - 1 and n, normalised; ignored where boa."""
    target_actions: Float[Tensor, "b p targets a"]
    """The 24 actions after frame n, normalised."""
    target_mask: Bool[Tensor, "b p targets"]
    """False beyond the episode and from the first step on that is no label."""
    pack_mask: Bool[Tensor, "b p"]
    """Valid packs, always a prefix."""
    frame_mask: Bool[Tensor, "b p"]
    """Frame n + 1 exists."""
    plan_actions: Float[Tensor, "b p lookahead a"]
    """The true actions that the previous step's lookahead covers, normalised."""
    plan_mask: Bool[Tensor, "b p"]
    """The pack has a plan."""

    def to(self, device: torch.device | str) -> WindowBatch:
        """Return the same windows on another device."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean squared errors of the predicted noise, scalars but for the last."""

    total: Float[Tensor, ""]
    """What is minimised."""
    observation: Float[Tensor, ""]
    """Of the next frames."""
    action: Float[Tensor, ""]
    """Of the next actions."""
    action_per_chunk: Float[Tensor, " chunks"]
    """Detached, for reporting only."""
    num_actions: Num[Tensor, ""]
    """How many actions `action` is the mean of."""
    num_frames: Num[Tensor, ""]
    """How many frames `observation` is the mean of."""
    action_hidden: Float[Tensor, "b p k d"]
    """Outputs at the action slots, for auxiliary losses of the training."""


@dataclass(frozen=True, slots=True)
class PackOutput:
    """Outputs at the slots of one pack, or of p packs with an axis p after b."""

    frame_hidden: Float[Tensor, "b *p n d"]
    action_hidden: Float[Tensor, "b *p k d"]
