# SPDX-License-Identifier: Apache-2.0
"""Numbers of a run reach a tracker with the calls that wandb and trackio share; without its package: one sentence."""

import json
import sys
from pathlib import Path

import pytest

from physgen_control.errors import UserError
from physgen_control.program.progress import Progress
from physgen_policy.training.run_log import RunLog

# Writes what it is told, as the packages take it: init(project=, name=, config=), run.log(mapping), run.finish().
STAND_IN = """
import json, pathlib
told = pathlib.Path(__file__).with_name("told.jsonl")
def write(*words):
    with told.open("a") as file:
        file.write(json.dumps(words) + chr(10))
class Run:
    def log(self, values): write("log", values)
    def finish(self): write("finish")
def init(project, name, config):
    if not name:
        raise RuntimeError("a run needs a name")
    write("init", project, name, config)
    return Run()
"""


@pytest.fixture
def trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "trackio.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    return folder / "told.jsonl"


def test_numbers_are_sent_and_kept(trackio: Path, tmp_path: Path) -> None:
    log = RunLog(tmp_path, Progress(quiet=True))
    log.open("cube", "trackio", {"seed": 3})
    log.numbers("policy", 20, {"loss": 0.5})
    log.numbers("policy", 40, {"loss": 0.25})
    log.close()
    told = [json.loads(line) for line in trackio.read_text().splitlines()]
    assert told == [
        ["init", "physgen", "cube", {"seed": 3}],
        ["log", {"policy/loss": 0.5, "policy/step": 20}],
        ["log", {"policy/loss": 0.25, "policy/step": 40}],
        ["finish"],
    ]
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in kept] == [0.5, 0.25]


def test_a_package_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"wandb is not installed: .*pip install wandb"):
        RunLog(tmp_path, Progress(quiet=True)).open("cube", "wandb")


def test_a_tracker_that_refuses_is_a_sentence(trackio: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trackio cannot begin a run: a run needs a name"):
        RunLog(tmp_path, Progress(quiet=True)).open("", "trackio")
    assert not trackio.exists()
