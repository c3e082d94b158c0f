# SPDX-License-Identifier: Apache-2.0
"""Turns episodes (latents and normalised actions in memory) into WindowBatch values. Owns no randomness of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.windows import Window, cut_window, draw_window, rollout_start
from physgen_policy.model.batch import WindowBatch
from physgen_policy.training.text_states import TextSource


@dataclass(frozen=True, slots=True)
class EpisodeTensors:
    """One episode of T control steps with an image at the steps 0, N, 2 N, ... <= T, N = picture_every."""

    latents: Tensor
    """float16 [T // N + 1, c, y, x], scaled, of the policy's codec."""
    actions: NDArray[np.float32]
    """float32 [T, A] in model units."""
    labels: NDArray[np.bool_]
    """bool [T]."""
    instruction: str
    picture_every: int = 1
    imagined: Tensor | None = None
    """Latents of the same pictures in which frames are imagined, where those are of another codec."""


@dataclass(frozen=True, slots=True)
class ActionBatch:
    """A batch of windows without text; its tensors are those of model.batch.WindowBatch."""

    latents: Tensor
    imagined: Tensor
    past_actions: Tensor
    boa: Tensor
    target_actions: Tensor
    target_mask: Tensor
    pack_mask: Tensor
    frame_mask: Tensor
    plan_actions: Tensor
    plan_mask: Tensor
    instructions: list[str]
    """One per window."""


def idle_action(norm: NormStats) -> NDArray[np.float32]:
    """Return zero motion in model units (the gripper entry is replaced by the last command)."""
    return norm.normalize(np.zeros(norm.action_dim, np.float32))


def all_shown(episode: EpisodeTensors) -> EpisodeTensors:
    """Return the episode with every step as a label: how things move is seen in all of it."""
    return replace(episode, labels=np.ones_like(episode.labels))


def shown_starts(episodes: Sequence[EpisodeTensors], horizon: int) -> float:
    """Return the share of the episodes that show what to do at the picture a rollout would begin with."""
    starts = [rollout_start(e.labels, horizon, e.picture_every) for e in episodes]
    return float(np.mean([e.labels[start] for e, start in zip(episodes, starts, strict=True)]))


def draw_windows(
    episodes: list[EpisodeTensors],
    rngs: Sequence[np.random.Generator],
    *,
    context_packs: int,
    horizon: int,
    aligned_fraction: float,
) -> list[tuple[EpisodeTensors, Window]]:
    """Draw one window per generator; every control step is equally likely to lie in the window's episode."""
    ends = np.cumsum([len(e.actions) for e in episodes])
    picked: list[tuple[EpisodeTensors, Window]] = []
    for rng in rngs:
        episode = episodes[int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))]
        window = draw_window(
            episode.labels, context_packs, horizon, rng, aligned_fraction, episode.picture_every
        )
        picked.append((episode, window))
    return picked


def collate(
    picked: list[tuple[EpisodeTensors, Window]], *, horizon: int, num_chunks: int, idle: NDArray[np.float32]
) -> ActionBatch:
    """Stack windows, padded to the longest one; padded packs repeat the last frame and are masked out."""
    packs = max(window.num_packs for _, window in picked)
    cuts = [cut_window(e.actions, e.labels, w, horizon, num_chunks, idle, e.picture_every) for e, w in picked]
    frames = [_pad_frames(c.frames // e.picture_every, packs) for (e, _), c in zip(picked, cuts, strict=True)]

    def pictures(of: list[Tensor]) -> Tensor:
        # To fp32 one by one: under autocast a CPU cannot stack float16.
        return torch.stack([latents[rows].float() for latents, rows in zip(of, frames, strict=True)])

    latents = pictures([e.latents for e, _ in picked])
    own = [e.imagined for e, _ in picked if e.imagined is not None]

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([_pad(getattr(c, name), packs) for c in cuts]))

    pack_mask = torch.tensor([[n < w.num_packs for n in range(packs)] for _, w in picked])
    return ActionBatch(
        latents=latents,
        imagined=pictures(own) if own else latents,
        past_actions=stack("past"),
        boa=stack("boa"),
        target_actions=stack("target"),
        target_mask=stack("target_mask"),
        pack_mask=pack_mask,
        frame_mask=stack("frame_mask"),
        plan_actions=stack("plan"),
        plan_mask=stack("plan_mask"),
        instructions=[e.instruction for e, _ in picked],
    )


def _pad_frames(frames: NDArray[np.int64], packs: int) -> Tensor:
    return torch.from_numpy(np.concatenate([frames, np.repeat(frames[-1:], packs + 1 - len(frames))]))


def _pad(values: NDArray[np.generic], packs: int) -> NDArray[np.generic]:
    missing = packs - len(values)
    return (
        np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)]) if missing else values
    )


def window_batch(batch: ActionBatch, text_encoder: TextSource) -> WindowBatch:
    """Add the text states; every distinct instruction is encoded once."""
    unique = sorted(set(batch.instructions))
    states, lengths = text_encoder.encode(unique)
    index = torch.tensor([unique.index(text) for text in batch.instructions], device=states.device)
    return WindowBatch(
        text_states=states[index],
        text_lengths=lengths[index],
        **{field.name: getattr(batch, field.name) for field in fields(batch) if field.name != "instructions"},
    )
