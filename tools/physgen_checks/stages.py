# SPDX-License-Identifier: Apache-2.0
"""A stage is a named check with a command; running one prints its name, its output if it fails, and its time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A check made of commands that must all succeed; `environment` None means the caller's.

    shown: the output is of interest also when nothing failed.
    """

    name: str
    commands: Sequence[Sequence[str]]
    environment: Mapping[str, str] | None = None
    shown: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a stage ended."""

    name: str
    passed: bool
    seconds: float

    def line(self) -> str:
        """Return the stage's line of the final table."""
        return f"  {'ok    ' if self.passed else 'FAILED'}  {self.seconds:6.1f} s  {self.name}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_stage(stage: Stage, root: Path) -> Outcome:
    """Run a stage's commands until one fails; their output is shown only then, unless the stage is `shown`."""
    _say(f"== {stage.name}")
    started = time.monotonic()
    for command in stage.commands:
        result = subprocess.run(
            command,
            cwd=root,
            env=stage.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if result.returncode != 0 or stage.shown:
            _say(result.stdout.rstrip())
        if result.returncode != 0:
            break
    outcome = Outcome(name=stage.name, passed=result.returncode == 0, seconds=time.monotonic() - started)
    _say(f"== {stage.name}: {'ok' if outcome.passed else 'FAILED'}, {outcome.seconds:.1f} s\n")
    return outcome


def run_streamed(
    command: Sequence[str], root: Path, environment: Mapping[str, str], before_last: Callable[[int], str]
) -> int:
    """Run a command with its output passed on as it comes, but with a text put before its last line.

    So pytest's own summary stays the very last line, after the table of all stages.

    Args:
        before_last: takes the exit status, returns the text.
    """
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None  # asked for above
    held: str | None = None
    try:
        for line in process.stdout:
            if held is not None:
                sys.stdout.write(held)
                sys.stdout.flush()
            held = line
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    _say(before_last(status))
    sys.stdout.write(held or "")
    sys.stdout.flush()
    return status
