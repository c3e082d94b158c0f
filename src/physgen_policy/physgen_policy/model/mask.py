# SPDX-License-Identifier: Apache-2.0
r"""Who may see whom in a window of physical tokens; pure functions of the layout.

    query \ key |  T   F_m, m<n  A_m, m<n   F_n   A_n
    T           | all     -         -        -     -
    F_n         | all    all       all      all   NONE
    A_n[i]      | all    all       all      all   A_n[j], j <= i

Frames never read the actions of their own pack (implicit inverse kinematics reads the other way round).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def token_tags(
    num_text: int, num_packs: int, frame_tokens: int, action_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Group and action index of every token of a window, both int [s].

    Text is group -1. The action index is -1 for everything but actions, so that `index_k <= index_q` also says
    "a frame key is visible to every query of its pack, an action key to no frame query".
    """
    pack = torch.full((frame_tokens + action_tokens,), -1, device=device)
    pack[frame_tokens:] = torch.arange(action_tokens, device=device)
    group = torch.arange(num_packs, device=device).repeat_interleave(frame_tokens + action_tokens)
    text = torch.full((num_text,), -1, device=device)
    return torch.cat([text, group]), torch.cat([text, pack.repeat(num_packs)])


def window_mask(
    num_text: int,
    num_packs: int,
    frame_tokens: int,
    action_tokens: int,
    *,
    first_pack: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return the boolean mask, True where the query row may see the key column.

    Args:
        num_text: Text tokens in front.
        num_packs: Packs after them.
        frame_tokens: Of a pack.
        action_tokens: Of a pack, behind its frame tokens.
        first_pack: None gives all rows; an index gives only the rows of this pack and the later ones, which is what a
            cached pass needs.
        device: Where the mask is.

    Returns:
        bool [rows, num_text + num_packs x (frame_tokens + action_tokens)].
    """
    device = device or torch.device("cpu")
    group, index = token_tags(num_text, num_packs, frame_tokens, action_tokens, device)
    start = 0 if first_pack is None else num_text + first_pack * (frame_tokens + action_tokens)
    q_group, q_index = group[start:, None], index[start:, None]
    return (group < q_group) | ((group == q_group) & (index <= q_index))


@dataclass(frozen=True, slots=True)
class Segment:
    """Query rows that see the same keys."""

    start: int
    """First row."""
    stop: int
    """One past the last row."""
    keys: int
    """They see the first `keys` keys: all, or where mask is True."""
    mask: Tensor | None = None
    """bool [rows, keys], or None."""


Segments = tuple[Segment, ...]


def window_segments(
    num_text: int,
    num_packs: int,
    frame_tokens: int,
    action_tokens: int,
    *,
    first_pack: int | None = None,
    device: torch.device | None = None,
) -> Segments:
    """Return window_mask as runs of rows that need no mask but for the few rows of a chunk; same arguments.

    What nobody may see is never computed, and frames, which are nearly all rows, attend without a mask.
    """
    pack, packs_from = frame_tokens + action_tokens, first_pack or 0
    segments = [Segment(0, num_text, num_text)] if first_pack is None and num_text else []
    row = num_text if first_pack is None else 0
    for index in range(packs_from, num_packs):
        frame_keys = num_text + index * pack + frame_tokens
        keys = frame_keys + action_tokens
        visible = (
            torch.arange(keys, device=device) < torch.arange(frame_keys + 1, keys + 1, device=device)[:, None]
        )
        segments.append(Segment(row, row + frame_tokens, frame_keys))
        segments.append(Segment(row + frame_tokens, row + pack, keys, visible))
        row += pack
    return tuple(segments)


def slot_mask(
    num_text: int, num_slots: int, frame_tokens: int, *, device: torch.device | None = None
) -> Tensor:
    """Mask of the video model without actions: text and slot 0 are one group, then frame-causal; bool [s, s]."""
    group = torch.cat(
        [
            torch.zeros(num_text, dtype=torch.long, device=device),
            torch.arange(num_slots, device=device).repeat_interleave(frame_tokens),
        ]
    )
    return group[:, None] >= group[None, :]
