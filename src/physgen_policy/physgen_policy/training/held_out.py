# SPDX-License-Identifier: Apache-2.0
"""Which episodes are never trained on: chosen by the episode alone, so that more data never moves one into training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physgen_control.errors import UserError
from physgen_policy.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of episodes."""

    train: list[int]
    """All that are not held out."""
    validation: list[int]
    """Some of those that are."""


def episode_position(actions: NDArray[np.float32]) -> float:
    """Return a number in [0, 1) that depends on an episode's actions alone, float32 [T, action_dim].

    The actions, because they are the same however the pictures of a recording were converted.
    """
    digest = hashlib.sha256(np.ascontiguousarray(actions).data.cast("B")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def position_in(dataset: Dataset, index: int) -> float:
    """Return the episode_position of a dataset's episode; where nobody acts, that of its pictures.

    Raises:
        DatasetError: Its file cannot be read.
    """
    if dataset.embodiment.acts:
        return episode_position(dataset.actions(index))
    return int(dataset.episode_sha256(index)[:16], 16) / 2**64


def split_episodes(positions: Sequence[float], share: float, at_most: int) -> Split:
    """Hold out the episodes whose position is below `share`, and validate with the first `at_most` of them.

    Raises:
        UserError: Nothing is left to train on.
    """
    if at_most == 0:
        share = 0.0
    held_out = sorted(
        (i for i, position in enumerate(positions) if position < share), key=positions.__getitem__
    )
    train = [i for i, position in enumerate(positions) if position >= share]
    if not train:
        raise UserError(
            f"all {len(positions)} episodes are held out for validation; record more, or set `validation_episodes: 0`"
        )
    return Split(train, held_out[:at_most])
