# SPDX-License-Identifier: Apache-2.0
"""Runs commands with their output in the set-up log, and shows that something is still happening."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from physgen_setup.errors import SetupError

# A line this often tells the watcher of a log without a terminal that a long step is alive.
HEARTBEAT_SECONDS = 60.0
POLL_SECONDS = 0.2
SHOWN_COMMAND = 80


class Console:
    """Progress lines of the steps: one line each, completed by the time it took."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._heading = ""
        self._started = self._said = time.monotonic()

    def begin(self, heading: str) -> None:
        """Start a step's line."""
        self._heading = heading
        self._started = self._said = time.monotonic()
        self._write(f"{heading} ... " if self._terminal else f"{heading} ...\n")

    def alive(self) -> None:
        """Show the time spent so far: in place on a terminal, as a line now and then elsewhere."""
        now = time.monotonic()
        if self._terminal and now - self._said >= 1.0:
            self._write(f"\r{self._heading} ... {now - self._started:.0f} s ")
            self._said = now
        elif not self._terminal and now - self._said >= HEARTBEAT_SECONDS:
            self._write(f"{self._heading} ... {now - self._started:.0f} s so far\n")
            self._said = now

    def end(self, outcome: str = "") -> None:
        """Complete the line with the time taken, or with an outcome."""
        text = outcome or f"{time.monotonic() - self._started:.0f} s"
        self._write(
            f"\r{self._heading} ... {text}\033[K\n" if self._terminal else f"{self._heading} ... {text}\n"
        )

    def say(self, text: str) -> None:
        """Write one line."""
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        # Standard error: a subcommand's standard output (--json ...) stays its own.
        sys.stderr.write(text)
        sys.stderr.flush()


class Shell:
    """Runs the commands of set-up; everything they print goes to one log file."""

    def __init__(self, log: Path, console: Console) -> None:
        self.log = log
        self.console = console
        log.parent.mkdir(parents=True, exist_ok=True)

    def attempt(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> int:
        """Run a command and return its exit status; 127 when the program does not exist."""
        with self.log.open("ab") as sink:
            sink.write(f"\n$ {shlex.join(command)}\n".encode())
            sink.flush()
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env=None if env is None else {**os.environ, **env},
                    cwd=cwd,
                )
            except FileNotFoundError:
                sink.write(f"{command[0]}: not found\n".encode())
                return 127
            try:
                while True:
                    try:
                        return process.wait(POLL_SECONDS)
                    except subprocess.TimeoutExpired:
                        self.console.alive()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()

    def run(
        self,
        command: Sequence[str],
        *,
        remedy: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Run a command that must succeed.

        Raises:
            SetupError: It did not; the remedy is passed on.
        """
        status = self.attempt(command, env=env, cwd=cwd)
        if status != 0:
            shown = shlex.join(command).splitlines()[0][:SHOWN_COMMAND]
            raise SetupError(f"`{shown} ...` ended with status {status}.", remedy)

    def note(self, text: str) -> None:
        """Write a line into the log."""
        with self.log.open("a", encoding="utf-8") as sink:
            sink.write(f"# {text}\n")

    def tail(self, lines: int = 15) -> str:
        """Return the log's last lines."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
