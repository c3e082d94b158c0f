# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and datasets to and from a hub: a folder that others can read, or a repository on the Hugging Face hub.

Only weights, descriptions, pictures and texts travel; code and pickles never do, and what arrives is checked before it
gets its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from physgen_control.errors import UserError
from physgen_policy.checkpoint import read_description
from physgen_policy.data.dataset import Dataset

Kind = Literal["checkpoint", "dataset", "lerobot"]
WANTED = (
    "*.json",
    "*.jsonl",
    "*.safetensors",
    "*.md",
    "format_version",
    "*.parquet",
    "*.mp4",
    "*.png",
    "*.yaml",
)
T = TypeVar("T")
REPOSITORY_TYPES: dict[Kind, str] = {"checkpoint": "model", "dataset": "dataset", "lerobot": "dataset"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are exchanged: `folder` on a disk, or `repository` OWNER/NAME at a revision."""

    folder: Path | None = None
    repository: str = ""
    revision: str = "main"


def parse_place(text: str) -> Place:
    """Return what a person wrote: a path, or OWNER/NAME, OWNER/NAME@REVISION, with hf:// before it or not.

    What could be both is a folder if it is there, and a repository otherwise.
    """
    named = text.removeprefix("hf://")
    path = Path(text).expanduser()
    looks_local = text.startswith((".", "/", "~")) or path.exists()
    repository, _, revision = named.partition("@")
    if text.startswith("hf://") or (not looks_local and repository.count("/") == 1):
        return Place(repository=repository, revision=revision or "main")
    return Place(folder=path)


def kind_of(folder: Path) -> Kind:
    """Say what a folder holds, after checking that it can be used.

    Raises:
        UserError: neither a checkpoint nor a dataset, or one that is not whole.
    """
    if (folder / "dataset.json").is_file():
        Dataset(folder)
        return "dataset"
    if (folder / "meta" / "info.json").is_file():
        return "lerobot"
    if (folder / "format_version").is_file() or (folder / "embodiment.json").is_file():
        read_description(folder)
        return "checkpoint"
    raise UserError(
        f"{folder} is neither a checkpoint nor a dataset; give the folder that `physgen train` or "
        "`physgen convert` wrote"
    )


def push(folder: Path, place: Place, *, private: bool = True) -> str:
    """Copy a checkpoint or dataset to a hub; return where it is.

    Args:
        folder: The checkpoint or dataset.
        place: a hub folder gets a folder of the same name; a repository is made if it is not there.
        private: a repository that is made is one's own.

    Raises:
        UserError: it is none, its name is taken, or the hub refuses or cannot be reached.
    """
    kind = kind_of(folder)
    if place.folder is not None:
        target = place.folder / folder.resolve().name
        if target.exists():
            raise UserError(f"{target} is there already; remove it, or push under another name")
        _copy(folder, target)
        return str(target)
    return _online(place, lambda: _upload(folder, place, REPOSITORY_TYPES[kind], private))


def pull(place: Place, out: Path) -> Kind:
    """Copy a checkpoint or dataset from a hub into a new folder; return what it is.

    Raises:
        UserError: the folder is taken, it is not there, cannot be reached, or is neither.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another --out")
    if place.folder is not None:
        kind = kind_of(place.folder)
        _copy(place.folder, out)
        return kind
    fetched = _online(place, lambda: _download(place))
    kind = kind_of(fetched)
    _copy(fetched, out)
    return kind


def _copy(source: Path, target: Path) -> None:
    """Copy what travels; the folder is whole or not there.

    Raises:
        UserError: The disk is full, or a file cannot be read.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    files = sorted({path for pattern in WANTED for path in source.rglob(pattern) if path.is_file()})
    try:
        for path in files:
            place = partial / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)  # not the mode: that is the umask's
        partial.rename(target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error}") from error


def _online(place: Place, work: Callable[[], T]) -> T:
    """Do something on the hub.

    Raises:
        UserError: The hub refuses, or cannot be reached.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return work()
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the hub repository {place.repository} cannot be used ({reason}); without a connection give a folder in "
            "its place, and for a repository of your own run `hf auth login` first"
        ) from error


def _upload(folder: Path, place: Place, repository_type: str, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(place.repository, repo_type=repository_type, private=private, exist_ok=True)
    done = api.upload_folder(
        repo_id=place.repository,
        repo_type=repository_type,
        folder_path=folder,
        revision=place.revision,
        allow_patterns=list(WANTED),
        commit_message=f"{folder.resolve().name}, by physgen push",
    )
    return str(done)


def _download(place: Place) -> Path:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    try:
        found = api.snapshot_download(place.repository, revision=place.revision, allow_patterns=list(WANTED))
    except RepositoryNotFoundError:
        found = api.snapshot_download(
            place.repository, repo_type="dataset", revision=place.revision, allow_patterns=list(WANTED)
        )
    return Path(found)
