# SPDX-License-Identifier: Apache-2.0
"""What tells two bags apart, whatever their folders are called."""

from __future__ import annotations

import hashlib
from pathlib import Path

from physgen_control.bags.errors import BagError
from physgen_control.bags.find import STORAGE_SUFFIXES

BLOCK = 1 << 20


def storage_files(bag: Path) -> list[Path]:
    """Return the files of a bag that hold its messages, sorted by name."""
    if bag.is_file():
        return [bag]
    return sorted(file for file in bag.iterdir() if set(file.suffixes) & set(STORAGE_SUFFIXES))


def size_bytes(bag: Path) -> int:
    """Return the size of a bag's messages on the disk [bytes]."""
    return sum(file.stat().st_size for file in storage_files(bag))


def content_sha256(bag: Path) -> str:
    """Return the hash of a bag's messages as they are stored; copies and renamed folders have the same.

    Raises:
        BagError: A file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in storage_files(bag):
            with file.open("rb") as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
    except OSError as error:
        raise BagError(f"The bag {bag} cannot be read: {error}") from error
    return digest.hexdigest()
