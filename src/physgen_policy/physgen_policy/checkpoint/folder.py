# SPDX-License-Identifier: Apache-2.0
"""The files of a checkpoint folder, and what makes one complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from physgen_control.errors import UserError
from physgen_control.program.plain_values import read_json_object
from physgen_policy.checkpoint import adapters

FORMAT_VERSION = "1"
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
DESCRIPTION_FILES = ("format_version", "config.json", "norm_stats.json", "embodiment.json")
WEIGHT_FILE, BASE_FILE, TRAINED_FILE = "model.safetensors", "base.json", "trained.safetensors"
TOKENIZER = "tokenizer"
ADAPTER_FILES = (BASE_FILE, TRAINED_FILE, adapters.CONFIG_FILE, adapters.WEIGHT_FILE)


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message says why and what to do."""


def require_complete(path: Path) -> None:
    """Check that every file of a checkpoint is there.

    Raises:
        CheckpointError: There is no such folder, or a file is missing.
    """
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {path}")
    weights = ADAPTER_FILES if (path / BASE_FILE).is_file() else (WEIGHT_FILE,)
    missing = [name for name in DESCRIPTION_FILES + weights if not (path / name).is_file()]
    if missing:
        pickles = [p.name for p in path.iterdir() if p.suffix in PICKLE_SUFFIXES]
        hint = f"; it holds pickle files ({pickles[0]}), which are refused" if pickles else ""
        raise CheckpointError(f"{path} is not a checkpoint folder: {', '.join(missing)} missing{hint}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        CheckpointError: It cannot be read, or holds none.
    """
    return read_json_object(path, CheckpointError)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as `read_json` reads them."""
    path.write_text(json.dumps(values, indent=2) + "\n")
