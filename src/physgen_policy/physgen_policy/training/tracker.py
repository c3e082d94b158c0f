# SPDX-License-Identifier: Apache-2.0
"""Sends the numbers of a run to an experiment tracker that the user has: Weights & Biases or Trackio.

Both take the same calls. Nothing is sent unless the run asks for it; what is kept locally is kept either way.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physgen_control.errors import UserError

PROJECT = "physgen"
TRACKERS = ("wandb", "trackio")


class Tracker:
    """An open run of a tracker.

    Args:
        kind: One of TRACKERS.
        name: Of the run.
        folder: Where files of the tracker go.
        config: What the run is made of, as plain values.

    Raises:
        UserError: The package is not installed, or it cannot begin a run.
    """

    def __init__(self, kind: str, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            module = importlib.import_module(kind)
        except ImportError as error:
            raise UserError(
                f"the package {kind} is not installed: `./physgen python -m pip install {kind}`, or train without "
                f"`track: {kind}`"
            ) from error
        os.environ.setdefault("WANDB_DIR", str(folder))
        try:
            self._run = module.init(project=PROJECT, name=name, config=dict(config))
        except Exception as error:
            raise UserError(f"{kind} cannot begin a run: {error}") from error

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Send the numbers of one step of a stage; stages count their steps anew, so the step is a number too."""
        self._run.log({f"{stage}/{key}": value for key, value in values.items()} | {f"{stage}/step": step})

    def close(self) -> None:
        """Send what is not sent yet."""
        self._run.finish()
