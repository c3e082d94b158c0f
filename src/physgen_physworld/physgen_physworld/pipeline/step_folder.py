# SPDX-License-Identifier: Apache-2.0
"""A step's folder: a JSON that says from what it was made, a picture, its files. What is done is not repeated.

Done means: the JSON is there and names the same inputs, by hash, and the same settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.program.plain_values import read_json_object
from physgen_control.types import UInt8Image

STRIP = 6
"""So many pictures of a video are put side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFolder:
    """The folder of one step in a run's folder."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """The folder of this step."""
        return self.root / self.name

    def file(self, name: str) -> Path:
        """Return the path of one of the step's files."""
        return self.path / name

    @property
    def record_path(self) -> Path:
        """The step's JSON."""
        return self.file(f"{self.name}.json")

    @property
    def picture_path(self) -> Path:
        """The step's picture."""
        return self.file(f"{self.name}.png")

    def record(self) -> dict[str, Any] | None:
        """Return the step's JSON; None when it has not been done."""
        return read_json_object(self.record_path) if self.record_path.is_file() else None

    def is_done(self, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> bool:
        """Say whether the step was done from these inputs with these settings, and its files are what it left."""
        record = self.record()
        if record is None or record.get("inputs") != dict(inputs) or record.get("settings") != dict(settings):
            return False
        outputs: dict[str, str] = record.get("outputs", {})
        return all(
            self.file(name).is_file() and sha256(self.file(name)) == digest
            for name, digest in outputs.items()
        )

    def begin(self) -> None:
        """Make the folder; what an earlier run said of itself is no longer true."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.record_path.unlink(missing_ok=True)

    def finish(
        self,
        inputs: Mapping[str, str],
        settings: Mapping[str, Any],
        result: Mapping[str, Any],
        outputs: Sequence[str] = (),
    ) -> None:
        """Write the JSON, last of all; outputs: the names of the step's files that later steps read."""
        record = {
            "step": self.name,
            "inputs": dict(inputs),
            "settings": dict(settings),
            "result": dict(result),
            "outputs": {name: sha256(self.file(name)) for name in outputs},
        }
        partial = self.record_path.with_suffix(".partial")
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial.rename(self.record_path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_picture(picture: UInt8Image, path: Path) -> None:
    """Write a PNG."""
    from PIL import Image

    Image.fromarray(picture).save(path)


def strip(frames: Sequence[UInt8Image] | UInt8Image) -> UInt8Image:
    """Return some pictures of a video side by side, first and last among them."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, STRIP).round().astype(int))
    return np.hstack([frames[index] for index in chosen])
