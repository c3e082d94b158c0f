# SPDX-License-Identifier: Apache-2.0
"""Learning how things move: clips without actions, frames as many as asked for, noise on what is seen alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny_checkpoint import VIEW, tiny_config, tiny_embodiment, tiny_norm

from physgen_control.errors import UserError
from physgen_policy.contract.embodiment import WITHOUT_ACTIONS
from physgen_policy.data.dataset import Dataset, EpisodeRecord
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.model.config import ModelConfig, changed
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder
from physgen_policy.training.batches import EpisodeTensors, all_shown
from physgen_policy.training.config import CodecStage, PolicyStage, TrainConfig, TrainConfigError
from physgen_policy.training.frame_validation import validate_frames
from physgen_policy.training.held_out import position_in
from physgen_policy.training.policy_stage import PolicyData, PolicyTrainer
from physgen_policy.training.run import TrainingRun
from physgen_policy.training.run_data import merge_datasets


def config_of(prediction: str) -> ModelConfig:
    return ModelConfig.from_dict(changed(tiny_config().to_dict(), {"frames": {"prediction": prediction}}))


def networks(config: ModelConfig) -> tuple[PhysGen, TextEncoder]:
    torch.manual_seed(0)
    return PhysGen(config).eval(), TextEncoder(config.text_encoder, config.nova.text_len).eval()


def episode(config: ModelConfig, steps: int = 40, *, moving: bool = True) -> EpisodeTensors:
    nova, random = config.nova, torch.Generator().manual_seed(1)
    latents = torch.randn(steps // 8 + 1, nova.latent_channels, *nova.latent_size, generator=random)
    if not moving:
        latents[:] = latents[0].clone()
    return EpisodeTensors(
        latents.half(), np.zeros((steps, 7), np.float32), np.zeros(steps, bool), "push", picture_every=8
    )


def clips(folder: Path, count: int = 3) -> Path:
    writer = DatasetWriter(folder, tiny_embodiment(robot="none", action_space=WITHOUT_ACTIONS))
    rng = np.random.default_rng(0)
    for seed in range(count):
        writer.add(
            EpisodeRecord(
                images=rng.integers(0, 256, (4, VIEW, 2 * VIEW, 3), dtype=np.uint8),
                actions=np.zeros((24, 7), np.float32),
                labels=np.zeros(24, bool),
                intervention=np.zeros(24, bool),
                task="PickCube-v1",
                seed=seed,
                instruction="pick",
                success=True,
                source=str(seed),
                picture_every=8,
            )
        )
    writer.finish()
    return folder


def test_clips_are_told_apart_by_their_pictures(tmp_path: Path) -> None:
    """Their actions are all the same, so that these would hold out all or none."""
    dataset = Dataset(clips(tmp_path / "clips"))
    assert len({position_in(dataset, index) for index in range(len(dataset))}) == len(dataset)
    _, norm = merge_datasets([dataset])
    assert norm.count == 0 and norm.lines() == ["the data has no actions"]


def test_nothing_but_video_is_learned_from_clips(tmp_path: Path) -> None:
    config = TrainConfig(
        name="clips",
        model="tiny",
        dataset=(str(clips(tmp_path / "clips")),),
        output=str(tmp_path / "run"),
        validation_episodes=0,
        codec=CodecStage(steps=0),
        policy=PolicyStage(steps=1),
    )
    with pytest.raises(UserError, match="clips without actions"):
        TrainingRun(config, resume=False).fit()


def test_frames_per_window_are_at_least_one() -> None:
    with pytest.raises(TrainConfigError, match="obs_loss_frames"):
        TrainConfig(name="x", model="tiny", dataset=("d",), output="o", policy=PolicyStage(obs_loss_frames=0))


def trainer_of(stage: PolicyStage) -> PolicyTrainer:
    config = config_of("v")
    model, text = networks(config)
    data = PolicyData(train=[all_shown(episode(config))], validation=[], norm=tiny_norm())
    return PolicyTrainer(model, text, config, data, stage, seed=3, accelerator=Accelerator(cpu=True))


def test_noise_is_put_on_what_is_seen_and_not_on_what_is_to_be_predicted() -> None:
    stages = [PolicyStage(objective="video", batch_size=2, latent_noise=noise) for noise in (0.0, 0.5)]
    (clean, _), (noisy, _) = (trainer_of(stage)._draw(2, 5) for stage in stages)
    assert torch.equal(clean.imagined, noisy.imagined)
    assert float((clean.latents - noisy.latents).std()) == pytest.approx(0.5, rel=0.2)


def test_the_loss_is_of_as_many_frames_as_asked_for_and_of_no_action() -> None:
    for frames, expected in ((1, 2), (3, 6)):
        stage = PolicyStage(objective="video", batch_size=2, obs_loss_frames=frames, aligned_fraction=1.0)
        trainer = trainer_of(stage)
        batch, random = trainer._draw(2, trainer.config.context_packs)
        terms = trainer.module(batch, random, frames)
        assert int(terms["observation"].count) == expected
        assert float(terms["action"].mean.detach()) == 0.0 and int(terms["action"].count) == 0


def test_the_mean_is_learned_alone_where_samples_are_not_wanted() -> None:
    """Without noise: what is minimised is what validation measures."""
    stage = PolicyStage(
        objective="video", batch_size=2, obs_loss_frames=5, obs_loss_of="mean", aligned_fraction=1.0
    )
    trainer = trainer_of(stage)
    batch, random = trainer._draw(2, trainer.config.context_packs)
    term = trainer.module.eval()(batch, random, 5)["observation"]
    measured = validate_frames(
        trainer.module.model, trainer.module.text_encoder, trainer.data.train, trainer.config, tiny_norm()
    )
    assert float(term.mean.detach()) == pytest.approx(measured["frame_error"], rel=1e-3)


def test_validation_compares_with_a_copy() -> None:
    config = config_of("v")
    model, text = networks(config)
    moving = validate_frames(model, text, [episode(config)], config, tiny_norm())
    # Independent normal latents: a copy is wrong by twice the variance.
    assert moving["copy_error"] == pytest.approx(2.0, rel=0.3) and moving["frame_error"] > 0
    still = validate_frames(model, text, [episode(config, moving=False)], config, tiny_norm())
    assert still["copy_error"] == 0.0


def test_a_head_without_a_mean_reports_its_copy_alone() -> None:
    config = config_of("epsilon")
    model, text = networks(config)
    assert set(validate_frames(model, text, [episode(config)], config, tiny_norm())) == {"copy_error"}
