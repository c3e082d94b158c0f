# SPDX-License-Identifier: Apache-2.0
"""Files that give no more bytes than they hold: a library that believes a damaged length reserves no memory for it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any


class BoundedReader(io.BufferedReader):
    """Reads at most what the file held when it was opened, whatever is asked for."""

    def __init__(self, path: Path) -> None:
        file = io.FileIO(path)
        try:
            self._size = os.fstat(file.fileno()).st_size
            super().__init__(file)
        except BaseException:  # no memory for the buffer
            file.close()
            raise

    def __del__(self) -> None:
        """Close the file of a reader that a library lost: rosbags does, where memory runs out amid its closing."""
        if (file := getattr(self, "raw", None)) is not None:  # None where there was no file to open
            file.close()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes; the base class reserves `size` bytes before it reads them."""
        return super().read(size if size is None else min(size, self._size))


class BoundedPath(type(Path())):  # type: ignore[misc]  # the class of paths of this system
    """A path whose binary files, and those of its children, are BoundedReaders."""

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """Open the file as Path.open does, a binary one that is read as a BoundedReader."""
        return BoundedReader(Path(self)) if mode == "rb" else super().open(mode, *args, **kwargs)
