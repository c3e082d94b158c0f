# SPDX-License-Identifier: Apache-2.0
"""Object clips as a training dataset: pictures of one camera and no actions.

A clip of n pictures is an episode of n - 1 chunks, whose actions are zeros that nobody may learn: no step is a label,
and the embodiment has no action space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physgen_control.types import ACTION_DIM, HORIZON
from physgen_physworld.video.object_clips import ObjectClip
from physgen_physworld.video.view import OBJECT_VIEW
from physgen_policy.contract.embodiment import WITHOUT_ACTIONS, Embodiment
from physgen_policy.data.dataset import EpisodeRecord
from physgen_policy.data.dataset_writer import DatasetWriter

EMBODIMENT = Embodiment(
    robot="none",
    cameras=("fixed",),
    image_height=OBJECT_VIEW.side,
    image_width=OBJECT_VIEW.side,
    action_space=WITHOUT_ACTIONS,
)


class ClipDataset:
    """Appends clips to a dataset folder; `finish` writes its index.

    Raises:
        DatasetError: the folder was made for something else, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = DatasetWriter(folder, EMBODIMENT)
        self._there = {(entry["task"], entry["seed"]) for entry in self._writer.entries}

    def __len__(self) -> int:
        return len(self._there)

    def holds(self, task: str, seed: int) -> bool:
        """Return whether the clip of a seed is there."""
        return (task, seed) in self._there

    def add(self, clip: ObjectClip) -> None:
        """Append a clip.

        Raises:
            DatasetError: the disk takes no more.
        """
        steps = HORIZON * (len(clip.images) - 1)
        nobody = np.zeros(steps, np.bool_)
        self._writer.add(
            EpisodeRecord(
                images=clip.images,
                actions=np.zeros((steps, ACTION_DIM), np.float32),
                labels=nobody,
                intervention=nobody,
                task=clip.task,
                seed=clip.seed,
                instruction=clip.instruction,
                success=True,
                source=f"{clip.task}_{clip.seed}",
                picture_every=HORIZON,
            )
        )
        self._there.add((clip.task, clip.seed))

    def finish(self) -> None:
        """Write the index.

        Raises:
            DatasetError: there is no clip.
        """
        self._writer.finish()
