# SPDX-License-Identifier: Apache-2.0
"""Without a terminal a command says at once what it begins and where results go, and then never nothing for 10 s."""

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_checkpoint import tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

pytestmark = pytest.mark.ros

PROMISED_S = 10.0
NEXT = "next: ./physgen "


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a command wrote, and its longest silence up to its last line [s]."""

    lines: list[str]
    silence_s: float
    status: int

    @property
    def next_words(self) -> list[str]:
        assert self.lines[-1].startswith(NEXT), self.lines
        return shlex.split(self.lines[-1].removeprefix(NEXT))


def listen(*words: str) -> Spoken:
    """Run a command of the `physgen` command line into a pipe."""
    last = time.monotonic()
    lines, silence_s = [], 0.0
    command = [sys.executable, "-m", "physgen_bringup.cli", *words]
    # Without the suite's domain, which others use at the same time: a graph then takes one of its own.
    environment = {key: value for key, value in os.environ.items() if key != "ROS_DOMAIN_ID"}
    environment["OMP_NUM_THREADS"] = "1"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            silence_s, last = max(silence_s, now - last), now
            lines.append(line.rstrip("\n"))
    return Spoken(lines, silence_s, process.returncode)


def check(spoken: Spoken, out: Path) -> None:
    assert spoken.status == 0, spoken.lines
    assert spoken.silence_s < PROMISED_S
    assert str(out) in spoken.lines[0], "the first line says where results go"


def train_words(folder: Path, steps: int) -> list[str]:
    write_tiny_checkpoint(folder / "base")
    write_tiny_dataset(folder / "data", tiny_embodiment())
    few = ["--steps", str(steps), "--batch-size", "2", "--lora-rank", "2", "--device", "cpu"]
    start = ["--finetune", str(folder / "base"), "--dataset", str(folder / "data")]
    return ["train", *start, *few, "--precision", "fp32", "--out", str(folder / "run")]


def eval_words(folder: Path, episodes: int) -> list[str]:
    words = ["eval", "--sim", "fake", "--policy", "random", "--episodes", str(episodes), "--workers", "1"]
    return [*words, "--out", str(folder / "run")]


def launch_words(folder: Path, episodes: int) -> list[str]:
    return ["launch", "sim:=fake", "policy:=expert", f"episodes:={episodes}", f"output_dir:={folder / 'run'}"]


def test_eval_is_never_silent(tmp_path: Path) -> None:
    spoken = listen(*eval_words(tmp_path, 8))
    check(spoken, tmp_path / "run")
    assert not [line for line in spoken.lines if "warn" in line.lower()], "what is normal is no warning"
    assert spoken.next_words[0] == "eval"
    assert spoken.next_words[-2:] == ["--failure-videos", "3"]


def test_train_is_never_silent_and_ends_with_its_evaluation(tmp_path: Path) -> None:
    spoken = listen(*train_words(tmp_path, 4))
    check(spoken, tmp_path / "run")
    words = spoken.next_words
    assert words[:5] == ["eval", "--sim", "maniskill", "--task", "PickCube-v1"]
    assert words[words.index("--checkpoint") + 1] == str(tmp_path / "run" / "checkpoint")


def test_launch_is_never_silent(tmp_path: Path) -> None:
    spoken = listen(*launch_words(tmp_path, 2))
    check(spoken, tmp_path / "run")
    assert not [line for line in spoken.lines if "warn" in line.lower()], "what is normal is no warning"
    assert spoken.next_words == ["launch", "sim:=fake", "policy:=expert", "episodes:=2", "record:=true"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_long_commands_are_never_silent(tmp_path: Path) -> None:
    """Long enough that only what is told of the course breaks the silence."""
    for name, words in (
        ("eval", eval_words(tmp_path / "eval", 300)),
        ("train", train_words(tmp_path / "train", 400)),
        ("launch", launch_words(tmp_path / "launch", 60)),
    ):
        spoken = listen(*words)
        check(spoken, tmp_path / name / "run")
        assert any("so far" in line for line in spoken.lines), name
