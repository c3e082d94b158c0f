# SPDX-License-Identifier: Apache-2.0
"""Turns recorded bags into training episodes: demonstrations, spliced and resized as at inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.splice import splice_views
from physgen_policy.data.dataset import EpisodeRecord
from physgen_policy.data.demonstration import EpisodeRejectedError, read_demonstration

__all__ = ["EpisodeRejectedError", "episode_from_bag"]


def episode_from_bag(path: Path, embodiment: Embodiment, slop_s: float = 0.02) -> EpisodeRecord:
    """Read one bag.

    Args:
        path: Bag folder.
        embodiment: Image size and control rate wanted.
        slop_s: Largest stamp difference of an image pair [s].

    Raises:
        EpisodeRejectedError: Not a success, too short, no images for a step, or another control rate.
        BagError: The bag is damaged.
    """
    shown = read_demonstration(
        path, control_rate_hz=embodiment.control_rate_hz, cameras=embodiment.cameras, slop_s=slop_s
    )
    recording = shown.recording
    fixed, wrist = embodiment.cameras
    height, width = embodiment.image_height, embodiment.image_width
    # One image at a time: those of a long bag, as the camera took them, do not fit into memory.
    images = np.empty((len(shown.observations[fixed]), height, 2 * width, 3), np.uint8)
    for index, (first, second) in enumerate(
        zip(shown.observations[fixed], shown.observations[wrist], strict=True)
    ):
        images[index] = splice_views(
            recording.images[fixed].rgb(first), recording.images[wrist].rgb(second), height, width
        )
    return EpisodeRecord(
        images=images,
        actions=shown.values,
        labels=shown.labels,
        intervention=shown.intervention,
        task=recording.episode.task,
        seed=recording.episode.seed,
        instruction=recording.instruction,
        success=True,
        source=path.name,
        picture_every=shown.picture_every,
    )
