# SPDX-License-Identifier: Apache-2.0
"""What a long command is doing: at a terminal a bar per stage, elsewhere a plain line at least every ten seconds.

One `Progress` belongs to a command. While a stage is open, a thread watches how long nothing was said; what a stage
knows of itself (how much is done, a few numbers) is what its line says.
`PHYSGEN_VERBOSITY=quiet` leaves the course out.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

from physgen_control.program.verbosity import is_quiet

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

T = TypeVar("T")

SILENCE_S = 5.0
"""Longest silence without a terminal. Below the ten seconds that are promised: a busy machine wakes threads late."""
CHECK_S = 0.5


class Stage:
    """One thing that is going on; made by `Progress.stage`. `update` may be called from any thread, and often."""

    def __init__(self, label: str, total: int | None, completed: int) -> None:
        self.label = label
        self.total = total
        self.completed = self._first = completed
        self.info = ""
        self._started_s = time.monotonic()
        self.shown: tuple[Bars, TaskID] | None = None

    def update(
        self,
        *,
        completed: int | None = None,
        advance: int = 0,
        total: int | None = None,
        info: str | None = None,
    ) -> None:
        """Say how much is done, of how much where that was not known, and a few words or numbers about it."""
        self.total = self.total if total is None else total
        self.completed = (self.completed if completed is None else completed) + advance
        self.info = self.info if info is None else info
        if self.shown is not None:
            bars, task = self.shown
            bars.update(task, completed=self.completed, total=self.total, info=self.info)

    def line(self) -> str:
        """The stage in one plain line."""
        elapsed_s = time.monotonic() - self._started_s
        parts = [self.label]
        if self.total:
            parts[0] += f" {self.completed}/{self.total}"
        parts += [self.info] if self.info else []
        parts.append(f"{_duration(elapsed_s)} so far")
        done = self.completed - self._first
        if self.total and done > 0 and self.completed < self.total:
            parts.append(f"about {_duration(elapsed_s / done * (self.total - self.completed))} left")
        return ", ".join(parts)


class Progress:
    """The course of one command on one stream.

    Args:
        stream: where it is told; standard output as it is at the first word, if not given.
        quiet: say nothing at all; the processes of a run that are not its first one.
        bars: False where something else draws on the terminal: there, only what is said is written.
        silence_s: longest silence while a stage is open and there are no bars [s].
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        bars: bool = True,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._stream = stream
        self._mute = quiet
        self._quiet = quiet or is_quiet()
        self._with_bars = bars
        self._silence_s = silence_s
        self._lock = threading.RLock()
        self._stages: list[Stage] = []
        self._bars: Bars | None = None
        self._watch: threading.Thread | None = None
        self._over = threading.Event()
        self._last_s = time.monotonic()

    def say(self, text: str) -> None:
        """Tell people one thing about the course, in one or several lines."""
        if not self._quiet:
            self.result(text)

    def result(self, text: str) -> None:
        """Tell people what came out, or what went wrong; `-q` does not leave it out."""
        if self._mute:
            return
        with self._lock:
            self._last_s = time.monotonic()
            if self._bars is not None:
                self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                self._write(text)

    def next(self, *words: object) -> None:
        """End a command with the line to type next."""
        self.say(f"next: {command_line(words)}")

    @contextmanager
    def stage(self, label: str, total: int | None = None, completed: int = 0) -> Iterator[Stage]:
        """Show that something is going on until the block ends; stages may lie in each other, the inner one is told."""
        stage = Stage(label, total, completed)
        self._begin(stage)
        try:
            yield stage
        finally:
            self._end(stage)

    def track(self, items: Sequence[T], label: str) -> Iterator[T]:
        """Yield the items, one step of a stage each."""
        with self.stage(label, len(items)) as stage:
            for item in items:
                yield item
                stage.update(advance=1)

    def _begin(self, stage: Stage) -> None:
        with self._lock:
            self._stages.append(stage)
            if self._quiet:
                return
            if self._at_terminal():
                if self._with_bars:
                    self._show(stage)
            elif self._watch is None:
                self._over = threading.Event()
                self._watch = threading.Thread(
                    target=self._break_silence, args=(self._over,), name="progress", daemon=True
                )
                self._watch.start()

    def _end(self, stage: Stage) -> None:
        with self._lock:
            self._stages.remove(stage)
            last = not self._stages
            watch = self._watch
            if last and self._bars is not None:
                self._bars.stop()
                self._bars = None
            if last:
                self._over.set()
                self._watch = None
        if last and watch is not None:
            watch.join()

    def _break_silence(self, over: threading.Event) -> None:
        while not over.wait(min(CHECK_S, self._silence_s / 4)):
            with self._lock:
                if self._stages and time.monotonic() - self._last_s >= self._silence_s:
                    self._last_s = time.monotonic()
                    try:
                        self._write(self._stages[-1].line())
                    except (OSError, ValueError):  # nobody reads any more; the command's own thread says so
                        return

    def _at_terminal(self) -> bool:
        return self._output().isatty() and os.environ.get("TERM") != "dumb"

    def _show(self, stage: Stage) -> None:
        """A bar for the stage, where a person looks on."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[info]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(file=self._stream),
                speed_estimate_period=600,
            )
            self._bars.start()
        task = self._bars.add_task(stage.label, total=stage.total, completed=stage.completed, info="")
        stage.shown = (self._bars, task)

    def _output(self) -> TextIO:
        return sys.stdout if self._stream is None else self._stream

    def _write(self, text: str) -> None:
        stream = self._output()
        stream.write(text + "\n")
        stream.flush()


def command_line(words: Iterable[object]) -> str:
    """Words as a line for a shell; a word that is `&&` joins two commands."""
    return " ".join(text if text == "&&" else shlex.quote(text) for text in map(str, words))


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
