# SPDX-License-Identifier: Apache-2.0
"""Find bags below a folder, finished and unfinished ones, each once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from physgen_control.bags.errors import BagError
from physgen_control.bags.writer import PARTIAL_SUFFIX

STORAGE_SUFFIXES = (".mcap", ".db3")
"""Files that hold messages."""
METADATA_FILE = "metadata.yaml"


@dataclass(frozen=True, slots=True)
class FoundBags:
    """The bags below a folder, each list sorted by path."""

    finished: tuple[Path, ...]
    """Folders with metadata.yaml, or a single storage file that was asked for by name."""
    unfinished: tuple[Path, ...]
    """Folders that nobody closed, with messages: NAME.partial, or without metadata.yaml. `physgen repair` recovers
    these."""


def search_bags(path: Path | str) -> FoundBags:
    """Return the bags at or below a folder; symbolic links are followed, a bag reached by two ways counts once.

    A .mcap or .db3 file stands for the bag that it belongs to, or for itself where no metadata.yaml lies beside it.

    Raises:
        BagError: There is nothing at the path, or it is a file of another kind.
    """
    root = Path(path)
    if not root.exists():
        raise BagError(f"{root} does not exist: give the folder of a bag or a folder of bags.")
    if root.is_file():
        if root.suffix not in STORAGE_SUFFIXES:
            raise BagError(f"{root} is no bag: give a bag folder, a folder of bags or a .mcap file.")
        if not (root.parent / METADATA_FILE).is_file():
            return FoundBags((root,), ())
        root = root.parent
    finished, unfinished = [], []
    for folder, files in _folders(root):
        if METADATA_FILE in files and not folder.name.endswith(PARTIAL_SUFFIX):
            finished.append(folder)
        elif any(file.endswith(STORAGE_SUFFIXES) for file in files):
            unfinished.append(folder)
    return FoundBags(tuple(sorted(finished)), tuple(sorted(unfinished)))


def find_bags(path: Path | str) -> list[Path]:
    """Return the finished bags at or below a folder, sorted by path; `search_bags` tells the unfinished ones too.

    Raises:
        BagError: There is nothing at the path, or it is a file of another kind.
    """
    return list(search_bags(path).finished)


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder at or below `root` with the names of its files, once whatever links lead to it."""
    seen: set[str] = set()
    for folder, children, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children.sort()
        yield Path(folder), files
