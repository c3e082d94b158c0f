# SPDX-License-Identifier: Apache-2.0
"""A run starts from exactly the checkpoint it is given: weights, codec, units; or it refuses with a sentence."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_checkpoint import tiny_config, tiny_embodiment, tiny_norm, write_tiny_checkpoint, write_tiny_dataset

from physgen_policy.checkpoint import CheckpointError, load_checkpoint
from physgen_policy.commands import train as command
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig, changed
from physgen_policy.training import run as training_run
from physgen_policy.training.config import (
    CodecStage,
    PolicyStage,
    TrainConfig,
    TrainConfigError,
    load_config,
    parse_config,
)
from physgen_policy.training.start import StartError, clipped_share, load_start


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("start") / "base")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(
        tmp_path_factory.mktemp("data"), tiny_embodiment(robot="fr3", tasks=("PickCube-v1",))
    )


@pytest.fixture
def config(checkpoint: Path, dataset: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        name="finetune",
        model="checkpoint",
        dataset=(str(dataset),),
        output=str(tmp_path / "run"),
        device="cpu",
        precision="fp32",
        num_threads=1,
        validation_episodes=0,
        store_dtype="float32",
        policy=PolicyStage(steps=0, batch_size=2, warmup_steps=1, init_from=str(checkpoint)),
    )


def test_a_run_of_no_steps_gives_the_checkpoint_back(config: TrainConfig, checkpoint: Path) -> None:
    """Weights, codec, text encoder and action statistics are the start's; robot and tasks are the data's."""
    folder = training_run.TrainingRun(config, resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    loaded = load_checkpoint(folder)
    assert loaded.norm.to_json() == tiny_norm().to_json()
    assert (loaded.embodiment.robot, loaded.embodiment.tasks) == ("fr3", ("PickCube-v1",))
    assert not (Path(config.output) / "codec").exists()


def test_training_moves_the_weights_and_only_theirs(config: TrainConfig, checkpoint: Path) -> None:
    config = replace(config, policy=replace(config.policy, steps=2))
    folder = training_run.TrainingRun(config, resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert "model" in moved and "codec" not in moved


def test_fitted_statistics_are_taken_only_when_asked_for(
    config: TrainConfig, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they clip is no news then: they were fitted to clip the rarest numbers."""
    config = replace(config, policy=replace(config.policy, norm_stats="dataset"))
    loaded = load_checkpoint(training_run.TrainingRun(config, resume=False).fit())
    assert loaded.norm.count == 24
    assert "clipped" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cameras": ("wrist", "fixed")}, "cameras is"),
        ({"control_rate_hz": 10.0}, r"control_rate_hz is 20\.0 there and 10\.0 here"),
        ({"delta_reference": "COMMANDED"}, "delta_reference is 'MEASURED' there"),
    ],
)
def test_other_data_is_refused_in_one_sentence(
    config: TrainConfig, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    other = write_tiny_dataset(tmp_path / "other", tiny_embodiment(**changes))
    config = replace(config, dataset=(str(other),))
    with pytest.raises(StartError, match=sentence):
        training_run.TrainingRun(config, resume=False).fit()


def test_another_architecture_is_refused_and_names_the_key(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "load_preset", lambda _name, _changes: tiny_config(dit_depth=3))
    with pytest.raises(StartError, match=r"action\.dit_depth is 2 there and 3 here"):
        training_run.TrainingRun(replace(config, model="tiny"), resume=False).fit()


def test_a_resumed_run_insists_on_its_start(config: TrainConfig, tmp_path: Path) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    config = replace(config, policy=replace(config.policy, init_from=str(base)))
    training_run.TrainingRun(config, resume=False).fit()
    other = write_tiny_checkpoint(tmp_path / "other", seed=1)
    elsewhere = replace(config, policy=replace(config.policy, init_from=str(other)))
    with pytest.raises(ValueError, match=r"policy\.init_from was"):
        training_run.TrainingRun(elsewhere, resume=True).fit()
    shutil.rmtree(base)
    other.rename(base)
    with pytest.raises(ValueError, match="bring the old one back"):
        training_run.TrainingRun(config, resume=True).fit()


def test_a_codec_may_come_from_a_checkpoint(
    config: TrainConfig, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "load_preset", lambda _name, _changes: tiny_config())
    config = replace(
        config,
        model="tiny",
        codec=CodecStage(init_from=str(checkpoint)),
        policy=replace(config.policy, init_from=""),
    )
    folder = training_run.TrainingRun(config, resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("codec."))
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith("model."))


def test_wrong_starts_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    missing = replace(config, policy=replace(config.policy, init_from=str(tmp_path / "nowhere")))
    with pytest.raises(CheckpointError, match="no checkpoint folder or shipped checkpoint"):
        training_run.TrainingRun(missing, resume=False).fit()
    good = {"name": "n", "model": "tiny", "dataset": "d", "output": "o"}
    with pytest.raises(TrainConfigError, match=r"leave `codec\.init_from` empty"):
        parse_config({**good, "policy": {"init_from": "a"}, "codec": {"init_from": "b"}}, "here")
    with pytest.raises(TrainConfigError, match=r"needs `policy\.init_from`"):
        parse_config({**good, "model": "checkpoint"}, "here")
    with pytest.raises(TrainConfigError, match=r"norm_stats must be one of .*checkpoint.*dataset"):
        parse_config({**good, "policy": {"norm_stats": "mine"}}, "here")


def test_options_change_single_keys_of_the_policy_stage(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: n\nmodel: tiny\ndataset: d\noutput: o\npolicy: {batch_size: 5}\n")
    config = load_config(path, {"output": "p"}, {"init_from": "base", "steps": 3})
    assert (config.output, config.policy.batch_size) == ("p", 5)
    assert (config.policy.init_from, config.policy.steps) == ("base", 3)


def test_the_command_line_names_the_start(
    config: TrainConfig, checkpoint: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"name: n\nmodel: checkpoint\ndataset: {dataset}\noutput: {tmp_path / 'cli'}\ndevice: cpu\nprecision: fp32\n"
        "num_threads: 1\nvalidation_episodes: 0\npolicy: {steps: 1, batch_size: 1}\n"
    )
    with pytest.raises(TrainConfigError):
        command.main([str(path)])
    assert command.main([str(path), "--init-from", str(checkpoint), "--steps", "0"]) == 0
    assert "action statistics of the checkpoint are kept" in capsys.readouterr().out


def test_the_clipped_share_counts_numbers_beyond_the_range() -> None:
    norm = NormStats(np.zeros(2, np.float32), np.ones(2, np.float32), 5)
    assert clipped_share(norm, np.array([[0.5, 1.0], [2.0, -1.0]], np.float32)) == 0.25


def test_a_codec_that_was_taken_may_be_trained_on(config: TrainConfig, checkpoint: Path) -> None:
    """With `codec.tune` the start's codec changes, keeps its scale, and nothing else of the start changes."""
    config = replace(config, codec=CodecStage(steps=2, batch_size=2, crop=16, tune=True))
    folder = training_run.TrainingRun(config, resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all(key.startswith("codec.") for key in changed)
    scales = [load_checkpoint(path).model.config.vae.scaling_factor for path in (checkpoint, folder)]
    assert scales[0] == scales[1]
    again = training_run.TrainingRun(config, resume=True).fit()
    assert load_file(again / "model.safetensors").keys() == after.keys()


def test_video_alone_leaves_the_action_parts_untouched(config: TrainConfig, checkpoint: Path) -> None:
    """The frame loss moves the backbone at every step; what the actions were makes no difference."""
    stage = replace(config.policy, objective="video", steps=2, obs_loss_every=8, weight_decay=0.0)
    folder = training_run.TrainingRun(replace(config, policy=stage), resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any(key.startswith("model.nova.") for key in changed)
    assert not any(key.startswith("model.action_head.") for key in changed)
    # Of the tokenizer only what stands for missing actions is used.
    assert not any(key.startswith("model.action_tokenizer.mlp") for key in changed)


@pytest.mark.parametrize(
    "action", [{}, {"prediction": "bins", "bins": 8}, {"num_chunks": 1, "plan_conditioning": False}]
)
def test_a_video_model_takes_new_action_parts(
    config: TrainConfig, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, action: dict[str, Any]
) -> None:
    """`init_parts: video` keeps backbone, codec and text encoder; action parts are new and may have other sizes."""

    def preset(_name: str, changes: dict[str, Any]) -> ModelConfig:
        return ModelConfig.from_dict(changed(tiny_config().to_dict(), changes))

    monkeypatch.setattr(training_run, "load_preset", preset)
    stage = replace(config.policy, init_parts="video")
    architecture = {"action": action, "context_packs": 2}
    config = replace(config, model="tiny", architecture=architecture, policy=stage)
    folder = training_run.TrainingRun(config, resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    kept = ("model.nova.", "codec.", "text_encoder.")
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith(kept))
    assert not torch.equal(before["model.action_tokenizer.boa"], after["model.action_tokenizer.boa"])
    loaded = load_checkpoint(folder)
    assert loaded.model.config.context_packs == 2
    for key, value in action.items():
        assert getattr(loaded.model.config.action, key) == value
    trained = training_run.TrainingRun(
        replace(config, policy=replace(stage, steps=2), output=config.output + "-on"), resume=False
    )
    assert trained.fit().is_dir()


def test_another_architecture_takes_what_fits(
    config: TrainConfig, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init_parts: fitting` with a codec of more channels: blocks are the start's, what meets the latents is new."""
    changes = {"nova": {"latent_channels": 8}, "vae": {"latent_channels": 8}}

    def preset(_name: str, _changes: dict[str, Any]) -> ModelConfig:
        return ModelConfig.from_dict(changed(tiny_config().to_dict(), changes))

    monkeypatch.setattr(training_run, "load_preset", preset)
    stage = replace(config.policy, init_parts="fitting", steps=1, learning_rate=0.0, min_learning_rate=0.0)
    config = replace(
        config, model="tiny", architecture=changes, policy=stage, codec=CodecStage(steps=1, crop=0)
    )
    folder = training_run.TrainingRun(config, resume=False).fit()
    before, after = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    other = {key for key in before if before[key].shape != after[key].shape}
    assert other and all(key.startswith(("model.nova.", "codec.")) for key in other)
    kept = {key for key in before if key not in other and not key.startswith("codec.")}
    assert all(torch.equal(before[key], after[key]) for key in kept)
    assert load_checkpoint(folder).model.config.nova.latent_channels == 8


def test_what_fits_needs_a_preset() -> None:
    policy = {"init_from": "pushcube-tiny", "init_parts": "fitting"}
    with pytest.raises(TrainConfigError, match="name its preset"):
        parse_config(
            {"name": "n", "model": "checkpoint", "dataset": "d", "output": "o", "policy": policy}, "here"
        )


def test_the_window_of_the_run_is_that_of_its_networks(checkpoint: Path) -> None:
    """A run with longer windows than its start died when it imagined the first long one."""
    wanted = replace(tiny_config(), context_packs=tiny_config().context_packs + 3)
    start = load_start(str(checkpoint), wanted, tiny_embodiment(), tiny_norm(), "checkpoint")
    assert start.config.context_packs == start.model.config.context_packs == wanted.context_packs
