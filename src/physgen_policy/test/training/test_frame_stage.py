# SPDX-License-Identifier: Apache-2.0
"""Frames under a policy that stays as it is: same actions bit for bit, a loss that falls, a resume that repeats."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_episode import roll
from safetensors.torch import load_file
from tiny_checkpoint import tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_control.errors import UserError
from physgen_policy.checkpoint import load_checkpoint, read_description
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.training.config import PolicyStage, TrainConfig, TrainConfigError
from physgen_policy.training.frame_stage import is_frame_side
from physgen_policy.training.run import TrainingRun
from physgen_policy.training.start import StartError

ARCHITECTURE = {
    "nova": {"mixer_rank": 0},
    "frames": {"prediction": "v", "up": True, "present": True, "next_actions": True},
}


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Frames of a tiny policy of random weights, half precision as the shipped ones are stored."""
    start = write_tiny_checkpoint(tmp_path / "start")
    data = write_tiny_dataset(tmp_path / "data", tiny_embodiment())
    return TrainConfig(
        name="frames",
        model="checkpoint",
        dataset=(str(data),),
        output=str(tmp_path / "run"),
        architecture=ARCHITECTURE,
        device="cpu",
        precision="fp32",
        num_threads=1,
        validation_episodes=0,
        validate_every=4,
        save_every=2,
        log_every=1,
        policy=PolicyStage(
            objective="frames",
            init_from=str(start),
            steps=4,
            batch_size=4,
            learning_rate=3e-3,
            muon_learning_rate=0.01,
            warmup_steps=1,
        ),
    )


def test_actions_are_the_same_and_only_the_frame_side_is_another(config: TrainConfig) -> None:
    """The promise of this stage, on the sent chunks of a long episode and on the file."""
    out = TrainingRun(config, resume=False).fit()
    before, after = load_checkpoint(Path(config.policy.init_from)), load_checkpoint(out)
    for a, b in zip(roll(PhysGenPolicy(before), 7), roll(PhysGenPolicy(after), 7), strict=True):
        np.testing.assert_array_equal(a, b)
    old = load_file(Path(config.policy.init_from) / "model.safetensors")
    new = load_file(out / "model.safetensors")
    for key in old.keys() | new.keys():
        if is_frame_side(key.removeprefix("model.")):
            continue
        assert torch.equal(old[key], new[key]) and old[key].dtype == new[key].dtype, key
    assert any(key.startswith("model.frame_inputs.up") and value.any() for key, value in new.items())
    assert not any("mixer" in key for key in new)
    assert read_description(out).config.frames.prediction == "v"


def test_a_resumed_run_repeats_the_uninterrupted_one(config: TrainConfig, tmp_path: Path) -> None:
    """Step for step: what a step draws depends on its number alone."""
    whole = TrainingRun(config, resume=False).fit()
    cut = replace(config, output=str(tmp_path / "cut"))
    first = TrainingRun(cut, resume=False)

    class InterruptedRunError(Exception):
        pass

    def stop(stage: str, step: int, values: dict[str, float]) -> None:
        if stage == "frames" and step == 3:
            raise InterruptedRunError

    first.log.numbers = stop  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError):
        first.fit()
    assert int(load_file(tmp_path / "cut" / "policy" / "state.safetensors")["step"][0]) == 2
    resumed = TrainingRun(cut, resume=True).fit()
    a, b = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns_and_says_how_far_it_is(config: TrainConfig) -> None:
    """On the episodes that it trains on: the mean frame comes closer to the true one."""
    run = TrainingRun(
        replace(
            config,
            validation_episodes=1,
            validation_share=0.5,
            policy=replace(config.policy, steps=60),
            validate_every=20,
            save_every=60,
        ),
        resume=False,
    )
    seen: list[float] = []
    numbers = run.log.numbers

    def keep(stage: str, step: int, values: dict[str, float]) -> None:
        numbers(stage, step, values)
        if stage == "frames":
            seen.append(values["observation"])
        if stage == "validation":
            assert values["frame_error"] > 0 and values["copy_error"] > 0

    run.log.numbers = keep  # type: ignore[method-assign]
    run.fit()
    assert np.mean(seen[-10:]) < 0.9 * np.mean(seen[:5])


def test_what_would_change_the_policy_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    """Before anything is written that could be mistaken for a frame side."""
    wrong = {"action": {"past_actions": False}}
    with pytest.raises(StartError, match=r"frame path alone: action\.past_actions"):
        TrainingRun(replace(config, architecture=wrong), resume=False).fit()
    with pytest.raises(TrainConfigError, match=r"name it in `policy\.init_from`"):
        replace(config, policy=replace(config.policy, init_from=""))
    with pytest.raises(TrainConfigError, match="leaves everything that acts"):
        replace(config, policy=replace(config.policy, tuning="lora"))
    with pytest.raises(TrainConfigError, match=r"leave out `codec\.tune`"):
        replace(config, codec=replace(config.codec, tune=True))
    short = replace(config, output=str(tmp_path / "short"))
    with pytest.raises(UserError, match="`architecture` changes a preset"):
        replace(short, policy=replace(config.policy, objective="joint"))
