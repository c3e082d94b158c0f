# SPDX-License-Identifier: Apache-2.0
"""Values that go in and out of the model: training windows, losses, outputs of a pack.

Legend: b batch, p packs, n frame tokens, d width, c h w latent, a action_dim; 8 stands for the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBatch:
    """Training windows. Pack n holds frame n and the actions executed just before it; it predicts what comes next.

    text_states: fp32 [b, l, text_dim] of the text encoder; text_lengths: int64 [b].
    latents: scaled latents of frames 0 .. p, fp32 [b, p + 1, c, h, w].
    past_actions: actions between frame n - 1 and n, normalised, [b, p, 8, a]; ignored where boa.
    boa: bool [b, p], the pack carries the learned begin-of-action tokens.
    target_actions: the 24 actions after frame n, [b, p, 24, a]; target_mask: bool [b, p, 24], False beyond the episode.
    pack_mask: bool [b, p], valid packs, always a prefix; frame_mask: bool [b, p], frame n + 1 exists.
    plan_actions: the true actions that the previous step's lookahead covers, [b, p, 16, a]; plan_mask: bool [b, p].
    """

    text_states: Float[Tensor, "b l text_dim"]
    text_lengths: Int[Tensor, " b"]
    boa: Bool[Tensor, "b p"]
    latents: Float[Tensor, "b p+1 c h w"]
    past_actions: Float[Tensor, "b p k a"]
    target_actions: Float[Tensor, "b p targets a"]
    target_mask: Bool[Tensor, "b p targets"]
    pack_mask: Bool[Tensor, "b p"]
    frame_mask: Bool[Tensor, "b p"]
    plan_actions: Float[Tensor, "b p lookahead a"]
    plan_mask: Bool[Tensor, "b p"]

    def to(self, device: torch.device | str) -> WindowBatch:
        """The same windows on another device."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean squared errors of the predicted noise. action_per_chunk [3] is detached and for reporting only.

    num_actions, num_frames: how many actions and frames `action` and `observation` are the means of.
    action_hidden: outputs at the action slots [b, p, 8, d], for auxiliary losses of the training.
    """

    total: Float[Tensor, ""]
    observation: Float[Tensor, ""]
    action: Float[Tensor, ""]
    action_per_chunk: Float[Tensor, " chunks"]
    num_actions: Num[Tensor, ""]
    num_frames: Num[Tensor, ""]
    action_hidden: Float[Tensor, "b p k d"]


@dataclass(frozen=True, slots=True)
class PackOutput:
    """Outputs at the slots of one pack: frame_hidden [b, n, d], action_hidden [b, 8, d] (or with a p axis after b)."""

    frame_hidden: Float[Tensor, "b *p n d"]
    action_hidden: Float[Tensor, "b *p k d"]
