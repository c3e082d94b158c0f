# SPDX-License-Identifier: Apache-2.0
"""Training from a dataset to a checkpoint: a resumed run equals an uninterrupted one, and the loss falls."""

import json
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from mini_run import mini_config_of_a_run, write_episodes
from model_windows import mini_config
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from physgen_control.errors import UserError
from physgen_policy.training import optim
from physgen_policy.training import run as training_run
from physgen_policy.training.config import TrainConfig, TrainConfigError, parse_config


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("dataset"), 3)


@pytest.fixture
def config(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    return mini_config_of_a_run(dataset, tmp_path / "run", monkeypatch)


@pytest.mark.parametrize(
    "changes", [{}, {"muon_learning_rate": 0.02}, {"single_batch_size": 6, "single_fraction": 0.5}]
)
def test_resumed_training_equals_uninterrupted_training(
    config: TrainConfig, tmp_path: Path, changes: dict[str, float]
) -> None:
    config = replace(config, policy=replace(config.policy, **changes))  # type: ignore[arg-type]
    whole = training_run.TrainingRun(config, resume=False).fit()
    parts = replace(
        config,
        output=str(tmp_path / "parts"),
        codec=replace(config.codec, init_from=config.output + "/codec"),
    )
    first = training_run.TrainingRun(parts, resume=False)

    class InterruptedRunError(Exception):
        pass

    def stop(stage: str, step: int, values: dict[str, float]) -> None:
        if stage == "policy" and step == 3:
            raise InterruptedRunError

    first.log.numbers = stop  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError):
        first.fit()
    resumed = training_run.TrainingRun(parts, resume=True).fit()
    expected, found = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_run_whose_optimizers_shared_the_parts_otherwise_is_refused(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As runs did whose queries and keys were trained by Muon."""
    config = replace(config, policy=replace(config.policy, muon_learning_rate=0.02))
    with monkeypatch.context() as patch:
        patch.setattr(optim, "NOT_FOR_MUON", ("modulation", "norm"))
        training_run.TrainingRun(config, resume=False).fit()
    with pytest.raises(UserError, match="shared the parts among the optimizers differently"):
        training_run.TrainingRun(config, resume=True).fit()


def test_a_run_is_not_overwritten_and_logs_its_metrics(config: TrainConfig) -> None:
    training_run.TrainingRun(config, resume=False).fit()
    lines = [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text().splitlines()]
    stages = [line["stage"] for line in lines]
    assert stages.count("codec") == 2 and stages.count("policy") == 4
    last = [line for line in lines if line["stage"] == "policy"][-1]
    assert all(last[key] > 0 for key in ("flops", "seconds_per_step", "windows_per_s", "tflop_per_s", "mfu"))
    with pytest.raises(ValueError, match="already holds a run"):
        training_run.TrainingRun(config, resume=False)


def test_a_run_without_shown_starts_says_so_and_validation_looks_at_the_first_chunk(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(
        config, policy=replace(config.policy, steps=1), validation_episodes=1, validation_share=0.5
    )
    seen = {}
    for name, pushed in (("free", 0), ("pushed", 9)):
        data = write_episodes(tmp_path / name, 5, pushed=pushed)
        run = replace(config, dataset=(str(data),), output=str(tmp_path / f"run-{name}"))
        training_run.TrainingRun(run, resume=False).fit()
        lines = (Path(run.output) / "metrics.jsonl").read_text().splitlines()
        seen[name] = [line for line in map(json.loads, lines) if line["stage"] == "validation"][-1]
        assert ("only 0% of the episodes show what to do" in capsys.readouterr().out) == bool(pushed)
    assert seen["free"]["first_chunk_error"] > 0 and "first_chunk_error" not in seen["pushed"]


def test_bad_configurations_name_the_key() -> None:
    good = {"name": "n", "model": "tiny", "dataset": "d", "output": "o"}
    assert parse_config(good, "here").dataset == ("d",)
    with pytest.raises(TrainConfigError, match="'learning'"):
        parse_config({**good, "policy": {"learning": 1}}, "here")
    with pytest.raises(TrainConfigError, match="'output' is missing"):
        parse_config({key: good[key] for key in ("name", "model", "dataset")}, "here")


def test_what_the_model_imagines_is_shown(config: TrainConfig, tmp_path: Path) -> None:
    """The same picture as a file and in TensorBoard: real frames above imagined ones, a column per pack."""
    data = write_episodes(tmp_path / "five", 5)
    config = replace(
        config,
        dataset=(str(data),),
        validation_episodes=1,
        validation_share=0.5,
        policy=replace(config.policy, steps=1),
    )
    training_run.TrainingRun(config, resume=False).fit()
    (picture,) = (Path(config.output) / "samples").iterdir()
    shown = iio.imread(picture)
    height, width = mini_config().nova.image_size
    assert shown.shape[0] == 2 * height and shown.shape[1] % width == 0
    events = EventAccumulator(str(Path(config.output) / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    (event,) = events.Images("prediction")
    assert event.step == 1
    np.testing.assert_array_equal(iio.imread(event.encoded_image_string), shown)


def test_pictures_must_meet_the_chunks_of_the_model(config: TrainConfig, tmp_path: Path) -> None:
    """Its chunks are three steps long: with a picture at every second step most of their starts were not seen."""
    data = write_episodes(tmp_path / "pairs", 3, picture_every=2)
    with pytest.raises(UserError, match=r"one picture per 2 control steps, which miss .* chunks of 3"):
        training_run.TrainingRun(replace(config, dataset=(str(data),)), resume=False).fit()


def test_instructions_that_the_model_would_confuse_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    """LIBERO's "pick up the black bowl next to the ..." was cut before what it is next to."""
    length = mini_config().nova.text_len
    long = "x" * length
    folder = write_episodes(tmp_path / "long", 2, instructions=(long + "plate", long + "stove"))
    with pytest.raises(UserError, match=f"first {length} tokens .*plate.*stove.*text_len"):
        training_run.TrainingRun(replace(config, dataset=(str(folder),)), resume=False).fit()


def test_single_steps_have_many_windows_of_one_pack_and_no_frame_loss(config: TrainConfig) -> None:
    """Their share is drawn step by step; the others are as they were."""
    policy = replace(config.policy, steps=12, single_batch_size=6, single_fraction=0.5)
    run = training_run.TrainingRun(replace(config, policy=policy), resume=False)
    run.fit()
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["stage"] == "policy"]
    assert {(step["windows"], step["observation"] > 0) for step in steps} == {(6.0, False), (2.0, True)}
