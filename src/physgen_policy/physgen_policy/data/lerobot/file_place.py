# SPDX-License-Identifier: Apache-2.0
"""Where the numbered data and video files of a LeRobot dataset lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FILES_PER_CHUNK = 1000
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200
FILE_PATTERN = "chunk-{chunk_index:03d}/file-{file_index:03d}"


@dataclass(slots=True)
class FilePlace:
    """Which numbered file is being written."""

    chunk: int = 0
    """Number of its folder."""
    file: int = 0
    """Its number there."""

    def next(self) -> None:
        """Go on to the next file."""
        self.file += 1
        if self.file == FILES_PER_CHUNK:
            self.chunk, self.file = self.chunk + 1, 0

    def path(self, root: Path, folder: str, suffix: str) -> Path:
        """Return the path of the file in a folder of the dataset."""
        name = FILE_PATTERN.format(chunk_index=self.chunk, file_index=self.file)
        return root / folder / f"{name}{suffix}"
