# SPDX-License-Identifier: Apache-2.0
"""Pairs (pack, next frame) with the hidden states of a frozen policy at the pack: what its frame side learns from.

The policy's transformer runs over every window once, before the first step; training then costs the frame side alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.windows import Window, max_packs
from physgen_policy.model.frame_inputs import FrameCondition
from physgen_policy.model.physgen import PhysGen
from physgen_policy.training.batches import EpisodeTensors, collate, idle_action, window_batch
from physgen_policy.training.text_states import TextSource

WINDOWS_PER_CALL = 32


@dataclass(frozen=True, slots=True)
class FramePairs:
    """All p pairs of a dataset: a pack and its next frame."""

    hidden: Tensor
    """Frame slots of the pack, bfloat16 [p, m, d]."""
    present: Tensor
    """Latents of the pack's frame, in which frames are imagined, float16 [p, c, h, w]."""
    following: Tensor
    """The same of the next frame."""
    chunks: Tensor
    """Normalised, [p, 8, a]."""
    anchors: Tensor | None
    """[p, m, d] of a model with a mixer."""

    def __len__(self) -> int:
        return len(self.hidden)

    def condition(self, model: PhysGen, rows: Tensor) -> tuple[FrameCondition, Tensor]:
        """Return the condition of some pairs under the model's present weights, and the true next latents in fp32."""
        device = model.action_tokenizer.slot.device
        anchors = None if self.anchors is None else self.anchors[rows].to(device).float()
        condition = model.frame_condition(
            anchors,
            self.hidden[rows].to(device).float(),
            self.present[rows].to(device).float(),
            self.chunks[rows].to(device),
        )
        return condition, self.following[rows].to(device).float()


@torch.no_grad()
def frame_pairs(
    model: PhysGen,
    text: TextSource,
    episodes: Sequence[EpisodeTensors],
    norm: NormStats,
    *,
    rng: np.random.Generator,
    only_first: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> FramePairs:
    """Run the policy over windows of the episodes.

    A window begins at every picture; with Begin-of-Action where fewer actions than a chunk precede it and in half of
    the other cases, as a rollout's does after a restart.

    Args:
        model: The policy network.
        text: The text encoder, or its states.
        episodes: Where the windows are from.
        norm: Action statistics.
        rng: Chooses Begin-of-Action.
        only_first: One window per episode, from its first picture on, as a rollout begins.
        progress: Called with episodes done and all episodes.
    """
    config = model.config
    horizon, device = config.action.horizon, model.action_tokenizer.slot.device
    picked: list[tuple[EpisodeTensors, Window]] = []
    for episode in episodes:
        steps = len(episode.actions)
        # A window without a next frame inside the episode would teach nothing.
        starts = range(0, max(0, steps - horizon) + 1, episode.picture_every)
        for start in [0] if only_first else starts:
            packs = max_packs(steps, start, config.context_packs, horizon)
            begins = start < horizon or bool(rng.random() < 0.5)
            picked.append((episode, Window(start, packs, begins)))
    picked.sort(key=lambda pair: pair[1].num_packs)  # neighbours are padded to the same length
    idle = idle_action(norm)
    parts: list[tuple[Tensor, ...]] = []
    mixes = model.nova.video_encoder.mixer is not None
    for first in range(0, len(picked), WINDOWS_PER_CALL):
        given = picked[first : first + WINDOWS_PER_CALL]
        batch = window_batch(
            collate(given, horizon=horizon, num_chunks=config.action.num_chunks, idle=idle), text
        ).to(device)
        tokens = model.text_tokens(batch.text_states, batch.text_lengths)
        packs = batch.pack_mask.shape[1]
        boa = batch.boa | ~batch.pack_mask
        hidden = model.full(tokens, batch.latents[:, :packs], batch.past_actions, boa).frame_hidden
        window, pack = (batch.frame_mask & batch.pack_mask).nonzero(as_tuple=True)
        part = [
            hidden[window, pack].bfloat16(),
            batch.imagined[window, pack].half(),
            batch.imagined[window, pack + 1].half(),
            batch.target_actions[window, pack, :horizon].float(),
        ]
        if mixes:
            part.append(model.nova.anchor(tokens)[window].bfloat16())
        parts.append(tuple(tensor.cpu() for tensor in part))
        progress(min(first + WINDOWS_PER_CALL, len(picked)), len(picked))
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    return FramePairs(columns[0], columns[1], columns[2], columns[3], columns[4] if mixes else None)
