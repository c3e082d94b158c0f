# SPDX-License-Identifier: Apache-2.0
"""Keeps pushed and led steps out of lerobot's loss, as our own training does: they show not what to do.

Our datasets flag labels in the column `is_label`, which lerobot does not know; it leaves out actions beyond the end of
an episode (`action_is_pad`), and actions that are no labels, with what follows them, are counted with those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

COLUMN = "is_label"


def not_shown(labels: NDArray[np.bool_], index: int, deltas: Sequence[int]) -> NDArray[np.bool_]:
    """Return bool [k], True where the action `delta` rows from row `index` is no target.

    Of the future that is every action from the first one on that is no label (a chunk cannot know the answer to a push
    that has not happened yet; `data.windows` has the same rule), of the past only those themselves.
    """
    reach = np.asarray(deltas, np.int64)
    blocked = np.flatnonzero(~labels[index:])
    first = blocked[0] if len(blocked) else np.iinfo(np.int64).max
    past = (reach < 0) & (index + reach >= 0)
    rows = np.where(past, index + reach, index)
    return np.where(past, ~labels[rows], reach >= first)


def with_labels(dataset_class: type[Any]) -> type[Any]:
    """Return lerobot's dataset class with `action_is_pad` also where an action is no label."""

    class LabelledDataset(dataset_class):
        """Rows of a LeRobot dataset; reads the column once."""

        _labels: NDArray[np.bool_] | None = None

        def __getitem__(self, idx: int) -> dict[str, Any]:
            item: dict[str, Any] = super().__getitem__(idx)
            if COLUMN in self.features and "action_is_pad" in item:
                left_out = not_shown(self._read_labels(), int(item["index"]), self.delta_indices["action"])
                item["action_is_pad"] = item["action_is_pad"] | torch.from_numpy(left_out)
            return item

        def _read_labels(self) -> NDArray[np.bool_]:
            if self._labels is None:
                columns = self.hf_dataset.select_columns(["index", COLUMN]).with_format("numpy")[:]
                self._labels = np.ones(self.meta.total_frames, np.bool_)
                self._labels[columns["index"].reshape(-1)] = columns[COLUMN].reshape(-1)
            return self._labels

    return LabelledDataset
