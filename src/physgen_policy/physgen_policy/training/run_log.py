# SPDX-License-Identifier: Apache-2.0
"""What a run tells: its course to people, numbers and pictures in its folder and in TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import imageio.v3 as iio
from torch.utils.tensorboard import SummaryWriter

from physgen_control.program.progress import Progress, Stage
from physgen_control.types import UInt8Image
from physgen_policy.training.tracker import Tracker


class RunLog:
    """One process's log. Only the main process says something, and only between `open` and `close` are numbers kept."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self._writer: SummaryWriter | None = None
        self._tracker: Tracker | None = None

    def open(self, name: str = "", track: str = "", config: Mapping[str, Any] | None = None) -> None:
        """Begin to keep numbers and pictures.

        Args:
            name: Of the run.
            track: Where numbers are sent too, one of TRACKERS; "" is nowhere.
            config: What the run is made of, for the tracker.

        Raises:
            UserError: The tracker cannot be used.
        """
        if track:
            self._tracker = Tracker(track, name, self.folder, config or {})
        self._writer = SummaryWriter(str(self.folder / "tensorboard"))

    def close(self) -> None:
        """Write what TensorBoard has not written yet, send what the tracker has not."""
        if self._writer is not None:
            self._writer.close()
        if self._tracker is not None:
            self._tracker.close()

    def say(self, line: str) -> None:
        """A line for people."""
        self.progress.say(line)

    def stage(
        self, label: str, total: int | None = None, completed: int = 0
    ) -> AbstractContextManager[Stage]:
        """A part of the run that takes its time."""
        return self.progress.stage(label, total, completed)

    def numbers(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Keep numbers of one step of a stage, in metrics.jsonl and TensorBoard."""
        if self._writer is None:
            return
        if self._tracker is not None:
            self._tracker.log(stage, step, values)
        for key, value in values.items():
            self._writer.add_scalar(f"{stage}/{key}", value, step)
        with (self.folder / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")

    def picture(self, name: str, step: int, image: UInt8Image) -> None:
        """Keep an image of the run, uint8 [y, x, 3], in samples/ and TensorBoard."""
        path = self.folder / "samples" / f"step_{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(path, image)
        if self._writer is not None:
            self._writer.add_image(name, image, step, dataformats="HWC")
