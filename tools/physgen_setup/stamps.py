# SPDX-License-Identifier: Apache-2.0
"""Stamps: a finished step leaves a file with the digest of everything its result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(files: Iterable[Path] = (), words: Iterable[str] = ()) -> str:
    """Return a digest of file names with their contents and of plain words; the order of files does not matter."""
    total = hashlib.sha256()
    for path in sorted(set(files)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.name}\0{content}\n".encode())
    for word in words:
        total.update(f"word\0{word}\n".encode())
    return total.hexdigest()


def source_files(folder: Path) -> list[Path]:
    """Return the files below `folder` that matter to a build: no caches, no editor left-overs."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".swp"}
    ]


class StampFolder:
    """Reads and writes the stamps of one state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def matches(self, name: str, key: str) -> bool:
        """Return whether the step `name` finished with exactly this key."""
        try:
            return (self._folder / name).read_text(encoding="utf-8").strip() == key
        except FileNotFoundError:
            return False

    def mark(self, name: str, key: str) -> None:
        """Record that the step finished; atomic, so that an interrupted write is no stamp."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{name}.new"
        temporary.write_text(key + "\n", encoding="utf-8")
        temporary.replace(self._folder / name)

    def clear(self, name: str) -> None:
        """Forget a step, so that an interrupted second run is not taken for the finished first."""
        (self._folder / name).unlink(missing_ok=True)
