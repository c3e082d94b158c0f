# SPDX-License-Identifier: Apache-2.0
"""A stage is a named check with a command; running one prints its name, its output if it fails, and its time."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A check made of commands that must all succeed."""

    name: str
    commands: Sequence[Sequence[str]]
    environment: Mapping[str, str] | None = None
    """None means the caller's."""
    shown: bool = False
    """The output is of interest also when nothing failed."""


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
    """Run a stage's commands until one fails; their output is shown at the end, if it fails or is `shown`."""
    started = time.monotonic()
    lines = []
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
            lines.append(result.stdout.rstrip() + "\n")
        if result.returncode != 0:
            break
    outcome = Outcome(name=stage.name, passed=result.returncode == 0, seconds=time.monotonic() - started)
    lines.append(f"== {stage.name}: {'ok' if outcome.passed else 'FAILED'}, {outcome.seconds:.1f} s")
    _say("".join(lines))  # at once: stages run side by side
    return outcome


def run_lanes(lanes: Sequence[Sequence[Stage]], root: Path) -> list[Outcome]:
    """Run lanes of stages side by side, the stages of a lane one after the other, all of them whatever fails."""
    for lane in lanes:
        _say(f"== {', then '.join(stage.name for stage in lane)}")
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        done = pool.map(lambda lane: [run_stage(stage, root) for stage in lane], lanes)
        return [outcome for outcomes in done for outcome in outcomes]


def run_streamed(
    commands: Sequence[Sequence[str]],
    root: Path,
    environment: Mapping[str, str],
    before_last: Callable[[int], str],
) -> int:
    """Run pytest commands one after the other, their output passed on as it comes, and return the worst exit status.

    The very last line is one summary of all, in pytest's words, after the text of `before_last`.

    Args:
        commands: What to run.
        root: Where.
        environment: Of every command.
        before_last: Takes the exit status, returns the text.
    """
    status, summaries = 0, []
    for command in commands:
        code, last = _stream(command, root, environment)
        status = status or code
        summaries.append(last)
    _say(before_last(status))
    _say(merged_summary(summaries))
    return status


def merged_summary(lines: Sequence[str]) -> str:
    """Return one summary line for several of pytest's, such as "== 3 passed, 1 skipped in 2.00s =="."""
    if len(lines) == 1:
        return lines[0].rstrip("\n")
    counts: dict[str, int] = {}
    seconds = 0.0
    for line in lines:
        for count, word in re.findall(r"(\d+) (\w+)", line.split(" in ")[0]):
            word = word if word == "passed" or not word.endswith("s") else word[:-1]
            counts[word] = counts.get(word, 0) + int(count)
        found = re.search(r" in ([\d.]+)s", line)
        seconds += float(found.group(1)) if found else 0.0
    words = [
        f"{count} {word}{'s' if word in ('warning', 'error') and count != 1 else ''}"
        for word, count in counts.items()
    ]
    return f"=== {', '.join(words)} in {seconds:.2f}s ==="


def _stream(command: Sequence[str], root: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command and print its lines but for the last one, which is returned with the exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C came; the command was ended first.
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
    return status, held or ""
