# SPDX-License-Identifier: Apache-2.0
"""The training dataset on disk, to read: one safetensors file per episode plus dataset.json. Knows no bags or networks.

An episode of T control steps holds T applied actions and the spliced images before the actions 0, N, 2 N, ... <= T:
images[k] is what the cameras saw before actions[k * N] was applied. N is the entry's `picture_every`; with N = 1 there
are T + 1 images, and images[T] is what they saw at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from physgen_control.errors import UserError
from physgen_control.program.plain_values import convert, read_json_object, shown
from physgen_control.types import PICTURE_INTERVALS
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats

DATASET_FORMAT = 4
READ_FORMATS = (2, 3, DATASET_FORMAT)
"""Format 2 knew no `picture_every`: it had a picture at every control step. Format 3 knew bags by the folder's name."""

ENTRY_TYPES: dict[str, type] = {
    "file": str,
    "steps": int,
    "task": str,
    "seed": int,
    "instruction": str,
    "success": bool,
    "source": str,
}
"""What an entry of an episode says, beside `picture_every`. Since format 4 there are two hashes: `bag_sha256`, of the
bag that it came from ("" if from none), and `sha256`, of the episode itself."""


class DatasetError(UserError):
    """A dataset cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """One episode as the training sees it, T control steps long."""

    images: NDArray[np.uint8]
    """uint8 [T // N + 1, height, 2 * width, 3] with N = picture_every."""
    actions: NDArray[np.float32]
    """float32 [T, action_dim], SI units, as applied."""
    labels: NDArray[np.bool_]
    """bool [T], False where the action shows not what to do (a pushed or led step)."""
    intervention: NDArray[np.bool_]
    """bool [T], True where a human was in command."""
    task: str
    seed: int
    instruction: str
    success: bool
    source: str
    """Name of the recording."""
    picture_every: int = 1
    """Control steps from one image to the next, one of PICTURE_INTERVALS."""

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
    """Return how many images an episode of that many control steps has."""
    return steps // picture_every + 1


class Dataset:
    """Read access to a dataset folder; images stay on disk until they are asked for.

    Args:
        folder: Made by DatasetWriter.

    Raises:
        DatasetError: The folder is no dataset, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        index = _read_index(folder)
        self.folder = folder
        self.embodiment, self.norm = index.embodiment, index.norm
        self.entries = index.episodes

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def num_frames(self) -> int:
        """Images in all episodes together."""
        return sum(count_images(entry["steps"], entry["picture_every"]) for entry in self.entries)

    def episode_sha256(self, episode: int) -> str:
        """Return the hash of one episode: its pictures, actions and flags.

        Raises:
            DatasetError: Its file cannot be read.
        """
        entry = self.entries[episode]
        if "sha256" in entry:
            return str(entry["sha256"])
        return hashlib.sha256((self.folder / entry["file"]).read_bytes()).hexdigest()

    def picture_every(self, episode: int) -> int:
        """Return the control steps N from one image of an episode to the next: image k shows step k * N."""
        every: int = self.entries[episode]["picture_every"]
        return every

    def images(self, episode: int) -> NDArray[np.uint8]:
        """Return uint8 [T // picture_every + 1, height, 2 * width, 3] of one episode.

        Raises:
            DatasetError: Its file cannot be read or does not belong to its entry; so for all tensors.
        """
        entry = self.entries[episode]
        count = count_images(entry["steps"], entry["picture_every"])
        size = (self.embodiment.image_height, len(self.embodiment.cameras) * self.embodiment.image_width, 3)
        return _read_tensor(self.folder / entry["file"], "images", np.uint8, (count, *size))

    def actions(self, episode: int) -> NDArray[np.float32]:
        """Return float32 [T, action_dim] of one episode, SI units."""
        return _read_actions(self.folder, self.entries[episode])

    def labels(self, episode: int) -> NDArray[np.bool_]:
        """Return bool [T] of one episode: which actions show what to do."""
        return _read_flags(self.folder, self.entries[episode], "labels")

    def intervention(self, episode: int) -> NDArray[np.bool_]:
        """Return bool [T] of one episode: in which steps a human was in command."""
        return _read_flags(self.folder, self.entries[episode], "intervention")

    def iter_images(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (episode index, images) in order."""
        for episode in range(len(self)):
            yield episode, self.images(episode)


@dataclass(frozen=True, slots=True)
class _Index:
    """What dataset.json says."""

    embodiment: Embodiment
    norm: NormStats
    """Of as many numbers per action as the episodes hold."""
    episodes: list[dict[str, Any]]
    """Checked entries."""


def _read_index(folder: Path) -> _Index:
    path = folder / "dataset.json"
    if not path.is_file():
        raise DatasetError(
            f"{folder} is not a dataset (no dataset.json); make one with `physgen convert BAGS --out {folder}`"
        )
    index = read_json_object(path, DatasetError)
    if index.get("format") not in READ_FORMATS:
        raise DatasetError(
            f"{path} has format {shown(index.get('format'))}, expected {DATASET_FORMAT}; convert the bags again"
        )
    episodes = index.get("episodes")
    if not isinstance(episodes, list) or not episodes:
        raise DatasetError(f"{path} lists no episodes; convert the bags again")
    try:
        for number, entry in enumerate(episodes):
            _check_entry(entry, f"episode {number}")
        embodiment = Embodiment.from_json(index.get("embodiment") or {})
        return _Index(embodiment, NormStats.from_json(index.get("norm_stats") or {}), episodes)
    except UserError as error:
        raise DatasetError(f"{path}: {error}; convert the bags again") from error


def _check_entry(entry: Any, where: str) -> None:
    """Check that an entry says where an episode is and what it is of.

    Raises:
        DatasetError: It does not.
    """
    if not isinstance(entry, dict):
        raise DatasetError(f"{where} has no entries, it is {shown(entry)}")
    if (every := entry.setdefault("picture_every", 1)) not in PICTURE_INTERVALS or type(every) is not int:
        raise DatasetError(f"{where} has picture_every {shown(every)}")
    for key, kind in ENTRY_TYPES.items():
        convert(kind, entry.get(key), f"{where}: {key}", DatasetError)
    for key in ("bag_sha256", "sha256"):
        if key in entry:
            convert(str, entry[key], f"{where}: {key}", DatasetError)
    if entry["steps"] < 1:
        raise DatasetError(f"{where} has {entry['steps']} steps")
    if Path(entry["file"]).is_absolute() or ".." in Path(entry["file"]).parts or "\0" in entry["file"]:
        raise DatasetError(f"{where} lies outside of the dataset, in {shown(entry['file'])}")


def _read_actions(folder: Path, entry: dict[str, Any]) -> NDArray[np.float32]:
    actions = _read_tensor(folder / entry["file"], "actions", np.float32, (entry["steps"], None))
    if not np.isfinite(actions).all():
        raise DatasetError(
            f"{folder / entry['file']} holds actions that are not finite; convert the bags again"
        )
    return actions


def _read_flags(folder: Path, entry: dict[str, Any], name: str) -> NDArray[np.bool_]:
    return _read_tensor(folder / entry["file"], name, np.uint8, (entry["steps"],)).astype(bool)


def _read_tensor(path: Path, name: str, dtype: type[Any], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return a tensor of a file after checking its type and shape (None: any length).

    Raises:
        DatasetError: The file cannot be read, or holds something else.
    """
    try:
        with safe_open(path, framework="np") as handle:
            tensor: NDArray[Any] = handle.get_tensor(name)
    # The last three: a header that names a type that NumPy has not.
    except (SafetensorError, OSError, TypeError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); convert the bags again") from error
    fits = len(tensor.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(tensor.shape, shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        raise DatasetError(
            f"{path} holds {name} of type {tensor.dtype} and shape {tensor.shape}, which do not belong to its entry in "
            "dataset.json; convert the bags again"
        )
    return tensor
