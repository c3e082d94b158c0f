# SPDX-License-Identifier: Apache-2.0
"""What a run tells: lines and progress bars on the console, numbers and pictures in its folder and in TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter

from physgen_control.types import UInt8Image


class RunLog:
    """One process's log. Only the main process says something, and only between `open` and `close` are numbers kept."""

    def __init__(self, folder: Path, *, is_main: bool) -> None:
        self.folder = folder
        self.console = Console(quiet=not is_main)
        self._writer: SummaryWriter | None = None

    def open(self) -> None:
        """Begin to keep numbers and pictures."""
        self._writer = SummaryWriter(str(self.folder / "tensorboard"))

    def close(self) -> None:
        """Write what TensorBoard has not written yet."""
        if self._writer is not None:
            self._writer.close()

    def say(self, line: str) -> None:
        """Print a line for people, which a narrow terminal may wrap anywhere."""
        self.console.print(line, soft_wrap=True)

    def progress(self, label: str, total: int, completed: int = 0) -> ProgressBar:
        """Return a progress bar on the console."""
        return ProgressBar(self.console, label, total, completed)

    def numbers(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Keep numbers of one step of a stage, in metrics.jsonl and TensorBoard."""
        if self._writer is None:
            return
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


class ProgressBar:
    """A progress bar that yields (progress, task); plain lines take its place where there is no terminal."""

    def __init__(self, console: Console, label: str, total: int, completed: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[info]}"),
            console=console,
        )
        self.arguments = (label, total, completed)

    def __enter__(self) -> tuple[Progress, Any]:
        self.progress.start()
        label, total, completed = self.arguments
        return self.progress, self.progress.add_task(label, total=total, completed=completed, info="")

    def __exit__(self, *_exception: object) -> None:
        self.progress.stop()
