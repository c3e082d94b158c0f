# SPDX-License-Identifier: Apache-2.0
"""The training dataset on disk: one safetensors file per episode plus dataset.json. Knows nothing of bags or networks.

An episode of T control steps holds T applied actions and the spliced images before the actions 0, N, 2 N, ... <= T:
images[k] is what the cameras saw before actions[k * N] was applied. N is the entry's `picture_every`; with N = 1 there
are T + 1 images, and images[T] is what they saw at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from physgen_control.errors import UserError
from physgen_control.types import PICTURE_INTERVALS
from physgen_policy.data.normalize import NormStats
from physgen_policy.embodiment import Embodiment

DATASET_FORMAT = 3
READ_FORMATS = (2, DATASET_FORMAT)
"""Format 2 knew no `picture_every`: it had a picture at every control step."""


class DatasetError(UserError):
    """A dataset cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """One episode as the training sees it.

    picture_every: N, control steps from one image to the next, one of PICTURE_INTERVALS; images: uint8
    [T // N + 1, height, 2 * width, 3]; actions: float32 [T, action_dim], SI units, as applied; labels: bool [T], False
    where the action shows not what to do (a deliberate disturbance); intervention: bool [T], True where a human was in
    command.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    labels: NDArray[np.bool_]
    intervention: NDArray[np.bool_]
    task: str
    seed: int
    instruction: str
    success: bool
    source: str
    picture_every: int = 1

    def __post_init__(self) -> None:
        if self.picture_every not in PICTURE_INTERVALS:
            raise DatasetError(
                f"picture_every must be one of {', '.join(map(str, PICTURE_INTERVALS))}, got {self.picture_every}"
            )
        steps = len(self.actions)
        images = count_images(steps, self.picture_every)
        if (len(self.images), len(self.labels), len(self.intervention)) != (images, steps, steps):
            raise DatasetError(
                f"an episode of {steps} actions with an image per {self.picture_every} control steps needs {images} "
                f"images, got {len(self.images)} images, {len(self.labels)} label flags and {len(self.intervention)} "
                "intervention flags"
            )


def count_images(steps: int, picture_every: int) -> int:
    """Images of an episode of that many control steps."""
    return steps // picture_every + 1


class DatasetWriter:
    """Appends episodes to a dataset folder; every finished episode is on disk before the next one starts."""

    def __init__(self, folder: Path, embodiment: Embodiment) -> None:
        self.folder = folder
        self.embodiment = embodiment
        self.entries: list[dict[str, Any]] = []
        (folder / "episodes").mkdir(parents=True, exist_ok=True)
        index = folder / "dataset.json"
        if index.exists():
            existing = _read_index(folder)
            if Embodiment.from_json(existing["embodiment"]) != embodiment:
                raise DatasetError(f"{folder} was made for another embodiment; choose a new --out folder")
            self.entries = existing["episodes"]

    @property
    def sources(self) -> set[str]:
        """Where the episodes already present came from (bag folder names)."""
        return {entry["source"] for entry in self.entries}

    def add(self, record: EpisodeRecord) -> None:
        """Write one episode and the index."""
        file = f"episodes/{len(self.entries):06d}.safetensors"
        save_file(
            {
                # safetensors writes the memory of a strided view, not what it shows.
                "images": np.ascontiguousarray(record.images),
                "actions": np.ascontiguousarray(record.actions),
                "labels": record.labels.astype(np.uint8),
                "intervention": record.intervention.astype(np.uint8),
            },
            self.folder / file,
        )
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
            }
        )

    def finish(self) -> NormStats:
        """Write dataset.json with the statistics of all labelled actions; call it as often as you like."""
        if not self.entries:
            raise DatasetError("no usable episode was found, so no dataset was written")
        shown = [
            _read_tensor(file, "actions")[_read_tensor(file, "labels").astype(bool)]
            for file in (self.folder / entry["file"] for entry in self.entries)
        ]
        norm = NormStats.fit(np.concatenate(shown))
        index = {
            "format": DATASET_FORMAT,
            "embodiment": self.embodiment.to_json(),
            "norm_stats": norm.to_json(),
            "episodes": self.entries,
        }
        partial = self.folder / "dataset.json.partial"
        partial.write_text(json.dumps(index, indent=1) + "\n")
        partial.replace(self.folder / "dataset.json")
        return norm


class Dataset:
    """Read access to a dataset folder; images stay on disk until they are asked for."""

    def __init__(self, folder: Path) -> None:
        index = _read_index(folder)
        self.folder = folder
        self.embodiment = Embodiment.from_json(index["embodiment"])
        self.norm = NormStats.from_json(index["norm_stats"])
        self.entries: list[dict[str, Any]] = index["episodes"]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def num_frames(self) -> int:
        """Images in all episodes together."""
        return sum(count_images(entry["steps"], entry["picture_every"]) for entry in self.entries)

    def picture_every(self, episode: int) -> int:
        """Control steps from one image of an episode to the next: image k shows step k * N."""
        every: int = self.entries[episode]["picture_every"]
        return every

    def images(self, episode: int) -> NDArray[np.uint8]:
        """uint8 [T // picture_every + 1, height, 2 * width, 3] of one episode."""
        return _read_tensor(self.folder / self.entries[episode]["file"], "images")

    def actions(self, episode: int) -> NDArray[np.float32]:
        """float32 [T, action_dim] of one episode, SI units."""
        return _read_tensor(self.folder / self.entries[episode]["file"], "actions")

    def labels(self, episode: int) -> NDArray[np.bool_]:
        """bool [T] of one episode: which actions show what to do."""
        return _read_tensor(self.folder / self.entries[episode]["file"], "labels").astype(bool)

    def intervention(self, episode: int) -> NDArray[np.bool_]:
        """bool [T] of one episode: in which steps a human was in command."""
        return _read_tensor(self.folder / self.entries[episode]["file"], "intervention").astype(bool)

    def iter_images(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (episode index, images) in order."""
        for episode in range(len(self)):
            yield episode, self.images(episode)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.is_file():
        raise DatasetError(
            f"{folder} is not a dataset (no dataset.json); make one with `physgen convert BAGS --out {folder}`"
        )
    try:
        index: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} is not readable JSON: {error}; convert the bags again") from error
    if index.get("format") not in READ_FORMATS:
        raise DatasetError(
            f"{path} has format {index.get('format')!r}, expected {DATASET_FORMAT}; convert the bags again"
        )
    for entry in index["episodes"]:
        if entry.setdefault("picture_every", 1) not in PICTURE_INTERVALS:
            raise DatasetError(
                f"{path} has an episode with picture_every {entry['picture_every']!r}; convert the bags again"
            )
    return index


def _read_tensor(path: Path, name: str) -> NDArray[Any]:
    try:
        with safe_open(path, framework="np") as handle:
            tensor: NDArray[Any] = handle.get_tensor(name)
            return tensor
    except (SafetensorError, OSError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); convert the bags again") from error
