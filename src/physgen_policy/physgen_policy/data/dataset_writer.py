# SPDX-License-Identifier: Apache-2.0
"""Writes a training dataset: appends episodes and keeps dataset.json, with hashes and statistics, true to them."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from physgen_control.program.plain_values import shown
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.contract.tensor_file import save_arrays
from physgen_policy.data.dataset import DATASET_FORMAT, Dataset, DatasetError, EpisodeRecord

SAVE_EVERY_S = 2.0
"""The index is on the disk that often: so much work is lost when a conversion is killed."""


class DatasetWriter:
    """Appends episodes to a dataset folder, which is complete after every `SAVE_EVERY_S` and after `finish`.

    Args:
        folder: The dataset; it is made where there is none.
        embodiment: What its episodes are recorded with.

    Raises:
        DatasetError: The folder was made for something else, or cannot be read.
    """

    def __init__(self, folder: Path, embodiment: Embodiment) -> None:
        self.folder = folder
        self.embodiment = embodiment
        self.entries: list[dict[str, Any]] = []
        self._shown: list[NDArray[np.float32]] = []
        self._saved_s = time.monotonic()
        try:
            (folder / "episodes").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"{folder} cannot be used as a dataset folder: {error}") from error
        if (folder / "dataset.json").exists():
            existing = Dataset(folder)
            _check_same(folder, existing.embodiment, embodiment)
            self.entries = existing.entries
            self._shown = [existing.actions(k)[existing.labels(k)] for k in range(len(existing))]

    def holds(self, bag_sha256: str, name: str) -> bool:
        """Return whether the dataset has the episode of a bag.

        Args:
            bag_sha256: Hash of the bag's content.
            name: The bag's folder, which is all that a dataset of format 3 knows.
        """
        return any(
            entry["bag_sha256"] == bag_sha256 if "bag_sha256" in entry else entry["source"] == name
            for entry in self.entries
        )

    def add(self, record: EpisodeRecord, bag_sha256: str = "") -> None:
        """Write one episode; the index follows within `SAVE_EVERY_S`, at the next call or at `finish`.

        Raises:
            DatasetError: An action is not finite or has another width, or the disk takes no more.
        """
        _check_actions(record, self._shown)
        tensors: dict[str, NDArray[Any]] = {
            # safetensors writes the memory of a strided view, not what it shows.
            "images": np.ascontiguousarray(record.images),
            "actions": np.ascontiguousarray(record.actions),
            "labels": record.labels.astype(np.uint8),
            "intervention": record.intervention.astype(np.uint8),
        }
        file = f"episodes/{len(self.entries):06d}.safetensors"
        try:
            save_arrays(tensors, self.folder / file)
        except (SafetensorError, OSError) as error:
            raise DatasetError(f"{self.folder / file} cannot be written: {error}") from error
        self.entries.append(
            {
                "file": file,
                "steps": len(record.actions),
                "task": record.task,
                "seed": record.seed,
                "instruction": record.instruction,
                "success": record.success,
                "source": record.source,
                "picture_every": record.picture_every,
                "bag_sha256": bag_sha256,
                "sha256": _sha256(tensors),
            }
        )
        self._shown.append(record.actions[record.labels])
        if time.monotonic() - self._saved_s >= SAVE_EVERY_S:
            self.finish()

    def finish(self) -> NormStats:
        """Write dataset.json with the statistics of all labelled actions; call it as often as you like.

        Raises:
            DatasetError: There is no episode, none shows what to do, or the disk takes no more.
        """
        if not self.entries:
            raise DatasetError("no usable episode was found, so no dataset was written")
        shown = np.concatenate(self._shown)
        norm = NormStats.fit(shown) if self.embodiment.acts else NormStats.without_actions(shown.shape[1])
        tasks = tuple(sorted({entry["task"] for entry in self.entries}))
        index = {
            "format": DATASET_FORMAT,
            "embodiment": replace(self.embodiment, tasks=tasks).to_json(),
            "norm_stats": norm.to_json(),
            "episodes": self.entries,
        }
        partial = self.folder / "dataset.json.partial"
        try:
            partial.write_text(json.dumps(index, indent=1) + "\n")
            partial.replace(self.folder / "dataset.json")
        except OSError as error:
            raise DatasetError(f"{partial} cannot be written: {error}") from error
        self._saved_s = time.monotonic()
        return norm


def _check_same(folder: Path, existing: Embodiment, wanted: Embodiment) -> None:
    """Check that episodes of both embodiments may stand in one dataset; tasks may differ.

    Raises:
        DatasetError: They may not.
    """
    there, here = existing.to_json(), wanted.to_json()
    other = [
        f"{key} {shown(there[key])}, not {shown(here[key])}"
        for key in there
        if key != "tasks" and there[key] != here[key]
    ]
    if other:
        raise DatasetError(f"{folder} was made for {', '.join(other)}; choose a new --out folder")


def _check_actions(record: EpisodeRecord, before: list[NDArray[np.float32]]) -> None:
    if not np.isfinite(record.actions).all():
        raise DatasetError(f"{record.source} holds an action that is not finite")
    if before and record.actions.shape[1:] != before[0].shape[1:]:
        raise DatasetError(
            f"{record.source} has {record.actions.shape[1]} numbers per action, the dataset has {before[0].shape[1]}"
        )


def _sha256(tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {values.shape};".encode())
        digest.update(np.ascontiguousarray(values).data.cast("B"))
    return digest.hexdigest()
