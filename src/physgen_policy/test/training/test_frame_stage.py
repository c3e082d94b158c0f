# SPDX-License-Identifier: Apache-2.0
"""Frames under a policy that stays as it is: same actions bit for bit, a loss that falls, a resume that repeats."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_episode import roll
from safetensors.torch import load_file
from tiny_checkpoint import PATCH_VAE, tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_control.errors import UserError
from physgen_policy.checkpoint import load_checkpoint, read_description
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.training.config import CodecStage, PolicyStage, TrainConfig, TrainConfigError
from physgen_policy.training.frame_stage import is_frame_side
from physgen_policy.training.run import TrainingRun
from physgen_policy.training.start import StartError

ARCHITECTURE: dict[str, dict[str, Any]] = {
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


@pytest.fixture
def sharper(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Frames that are imagined in the latents of a codec of their own, which the run trains."""
    own = {**PATCH_VAE, "scaling_factor": 0.5}
    nova = {**ARCHITECTURE["nova"], "image_channels": 6}
    architecture = {"nova": nova, "frames": {**ARCHITECTURE["frames"], "codec": own}}
    stage = CodecStage(steps=3, batch_size=2, crop=0, whole_fraction=0.0)
    return replace(config, output=str(tmp_path / "sharper"), architecture=architecture, codec=stage)


def test_frames_may_have_a_codec_of_their_own(sharper: TrainConfig) -> None:
    """Under the same policy: the same actions, what it sees through as before, and a frame of the size of a picture."""
    out = TrainingRun(sharper, resume=False).fit()
    before, after = load_checkpoint(Path(sharper.policy.init_from)), load_checkpoint(out)
    policy = PhysGenPolicy(after)
    for a, b in zip(roll(PhysGenPolicy(before), 7), roll(policy, 7), strict=True):
        np.testing.assert_array_equal(a, b)
    frame = policy.predict_frame()
    assert frame is not None and frame.shape == (32, 64, 3)
    old, new = (load_file(Path(p) / "model.safetensors") for p in (sharper.policy.init_from, out))
    for key, value in old.items():
        assert is_frame_side(key.removeprefix("model.")) or torch.equal(value, new[key]), key
    codec = read_description(out).config.frames.codec
    assert codec is not None and codec.scaling_factor not in (0.5, 0.18215)
    trained = load_file(Path(sharper.output) / "codec" / "codec.safetensors")
    for key, value in trained.items():
        assert torch.equal(value.half(), new[f"imagined_codec.{key}"]), key


def test_the_codec_of_frames_is_kept_or_taken(sharper: TrainConfig, tmp_path: Path) -> None:
    """A second run keeps it; that of another checkpoint is taken where it is named; without one there is one codec."""
    first = TrainingRun(sharper, resume=False).fit()

    def again(name: str, **changes: object) -> dict[str, torch.Tensor]:
        policy = replace(sharper.policy, init_from=str(changes.pop("start", first)), steps=1)
        config = replace(sharper, output=str(tmp_path / name), policy=policy, **changes)  # type: ignore[arg-type]
        return load_file(TrainingRun(config, resume=False).fit() / "model.safetensors")

    def codec(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value for key, value in tensors.items() if key.startswith("imagined_codec.")}

    wanted = codec(load_file(first / "model.safetensors"))
    kept = codec(again("kept"))
    silent = codec(again("silent", architecture={}))
    named = codec(again("named", start=sharper.policy.init_from, codec=CodecStage(init_from=str(first))))
    for found in (kept, silent, named):
        assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)
    none = again("none", architecture={"nova": {"image_channels": 0}, "frames": {"codec": None}})
    assert not codec(none) and load_checkpoint(tmp_path / "none" / "checkpoint").own_imagined_codec is None


def test_a_fine_tune_learns_frames_in_their_own_latents(sharper: TrainConfig, tmp_path: Path) -> None:
    """The whole model further, actions and frames: the codec stays, and the frame loss is of its latents."""
    first = TrainingRun(sharper, resume=False).fit()
    policy = PolicyStage(init_from=str(first), steps=2, batch_size=2, warmup_steps=1)
    config = replace(
        sharper, output=str(tmp_path / "joint"), architecture={}, policy=policy, codec=CodecStage()
    )
    out = TrainingRun(config, resume=False).fit()
    old, new = (load_file(p / "model.safetensors") for p in (first, out))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key].half(), new[key]) for key in old if "codec." in key)
    assert any(
        not torch.equal(old[key], new[key]) for key in old if is_frame_side(key.removeprefix("model."))
    )


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
