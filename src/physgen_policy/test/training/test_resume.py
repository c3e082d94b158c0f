# SPDX-License-Identifier: Apache-2.0
"""`--resume` goes on with the same run, applies and records what may change, and refuses the rest untouched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mini_run import mini_config_of_a_run, write_episodes
from safetensors.torch import load_file

from physgen_control.errors import UserError
from physgen_control.program.folder_lock import folder_lock
from physgen_policy.training.config import TrainConfig, load_config
from physgen_policy.training.policy_stage import MOST_LEFT_OUT, PolicyTrainer
from physgen_policy.training.run import TrainingRun


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    return mini_config_of_a_run(write_episodes(tmp_path / "data", 3), tmp_path / "run", monkeypatch)


def fit(config: TrainConfig, *, resume: bool = False) -> Path:
    return TrainingRun(config, resume=resume).fit()


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def other_data(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    return replace(config, dataset=(str(write_episodes(tmp_path / "more", 4)),))


REFUSED: dict[str, tuple[Callable[[TrainConfig, Path], TrainConfig], str]] = {
    "seed": (lambda c, _: replace(c, seed=1), "seed was 0 and is 1"),
    "codec": (
        lambda c, _: replace(c, codec=replace(c.codec, kl_weight=1.0)),
        r"codec.kl_weight was 0.0001 and is 1.0",
    ),
    "objective": (
        lambda c, _: replace(c, policy=replace(c.policy, objective="video")),
        "policy.objective was 'joint' and is 'video'",
    ),
    "data": (other_data, "the episodes of the dataset are others"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_another_run_is_refused_before_anything_is_written(
    what: str, config: TrainConfig, tmp_path: Path
) -> None:
    change, sentence = REFUSED[what]
    fit(config)
    before = content(tmp_path / "run")
    with pytest.raises(UserError, match=sentence):
        fit(change(config, tmp_path), resume=True)
    assert content(tmp_path / "run") == before


def test_what_may_change_is_applied_and_recorded(config: TrainConfig, tmp_path: Path) -> None:
    fit(config)
    longer = replace(config, policy=replace(config.policy, steps=6, learning_rate=5e-4))
    (tmp_path / "data").rename(tmp_path / "moved")
    longer = replace(longer, dataset=(str(tmp_path / "moved"),))
    folder = fit(longer, resume=True)
    assert json.loads((folder / "config.json").read_text())["training"]["step"] == 6
    assert load_config(tmp_path / "run" / "config.yaml") == longer
    changes = json.loads((tmp_path / "run" / "run.json").read_text())["changes"]
    assert [(c["step"], c["key"], c["from"], c["to"]) for c in changes if c["key"] != "dataset"] == [
        (4, "policy.learning_rate", 1e-3, 5e-4),
        (4, "policy.steps", 4, 6),
    ]
    assert [c["to"] for c in changes if c["key"] == "dataset"] == [[str(tmp_path / "moved")]]
    fit(longer, resume=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["changes"] == changes


def test_damaged_and_foreign_run_folders_are_sentences(config: TrainConfig, tmp_path: Path) -> None:
    fit(config)
    state = tmp_path / "run" / "policy" / "state.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"state\.safetensors is damaged"):
        fit(config, resume=True)
    state.write_bytes(whole)
    (tmp_path / "run" / "run.json").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"no run.json"):
        fit(config, resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        fit(replace(config, output=str(tmp_path / "file")))
    with folder_lock(tmp_path / "locked"), pytest.raises(UserError, match="in use by another command"):
        fit(replace(config, output=str(tmp_path / "locked")))


def test_a_codec_is_whole_or_not_there(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may end between the codec's two files; the next one trains it again and does not read half of it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(UserError, match=r"cannot be written: .*No space left"):
            fit(config)
    assert not (tmp_path / "run" / "codec").exists()
    assert (fit(config, resume=True) / "model.safetensors").is_file()


class Spoilt:
    """Makes the gradients of chosen steps not finite, as an overflow of bfloat16 does."""

    def __init__(self, steps: range, monkeypatch: pytest.MonkeyPatch) -> None:
        combine = PolicyTrainer._combine

        def spoilt(trainer: PolicyTrainer, terms: object) -> object:
            total, report = combine(trainer, terms)  # type: ignore[arg-type]
            if trainer.step in steps:
                total = total * torch.tensor(float("inf"))
            return total, report

        monkeypatch.setattr(PolicyTrainer, "_combine", spoilt)


def test_a_gradient_that_is_not_finite_reaches_nothing(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spoilt(range(1, 3), monkeypatch)
    folder = fit(config)
    for file in (folder / "model.safetensors", tmp_path / "run" / "policy" / "state.safetensors"):
        assert all(torch.isfinite(value).all() for value in load_file(file).values())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["left_out"] for line in lines if line["stage"] == "policy"] == [0.0, 1.0, 1.0, 0.0]


def test_a_run_that_diverged_stops_and_keeps_its_last_state(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, policy=replace(config.policy, steps=40))
    Spoilt(range(2, 40), monkeypatch)
    with pytest.raises(UserError, match=f"the last {MOST_LEFT_OUT} steps before step {2 + MOST_LEFT_OUT}"):
        fit(config)
    state = load_file(tmp_path / "run" / "policy" / "state.safetensors")
    assert all(torch.isfinite(value).all() for value in state.values())
