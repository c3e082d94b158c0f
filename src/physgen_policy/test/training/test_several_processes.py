# SPDX-License-Identifier: Apache-2.0
"""A batch shared by two processes gives the loss curve and the weights that one process gets from it."""

import json
from pathlib import Path

import pytest
import torch
from model_windows import make_windows, mini_config, mini_model
from process_group import train_in_processes
from safetensors.torch import load_file
from tiny_checkpoint import tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.draws import WindowRandom
from physgen_policy.model.window_loss import window_loss
from physgen_policy.training.config import load_config
from physgen_policy.training.run import TrainingRun


def generators(seeds: list[int]) -> WindowRandom:
    return WindowRandom(
        [torch.Generator().manual_seed(seed) for seed in seeds], torch.Generator().manual_seed(99)
    )


def write_config(folder: Path, name: str) -> Path:
    """Full tuning, every loss term and all noise on."""
    config = folder / f"{name}.yaml"
    config.write_text(
        f"name: n\nmodel: checkpoint\ndataset: {folder / 'data'}\noutput: {folder / name}\n"
        "device: cpu\nprecision: fp32\nnum_threads: 1\nvalidation_episodes: 0\nlog_every: 1\nstore_dtype: float32\n"
        f"policy: {{steps: 3, batch_size: 4, warmup_steps: 1, waypoint_weight: 1.0, latent_noise: 0.1,"
        f" single_batch_size: 8, single_fraction: 0.5, init_from: {folder / 'base'}}}\n"
    )
    return config


def logged_steps(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == "policy"]


@pytest.mark.timeout(600)
def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "base")
    write_tiny_dataset(tmp_path / "data", tiny_embodiment())
    TrainingRun(load_config(write_config(tmp_path, "one")), resume=False).fit()
    train_in_processes(write_config(tmp_path, "two"), 2)
    one, two = logged_steps(tmp_path / "one"), logged_steps(tmp_path / "two")
    assert [line["step"] for line in one] == [line["step"] for line in two] == [1, 2, 3]
    assert {line["windows"] for line in one} == {4.0, 8.0}  # steps of both kinds
    for key in ("total", "action", "observation", "waypoint", "grad_norm"):
        assert [line[key] for line in two] == pytest.approx([line[key] for line in one], rel=1e-4), key
    weights = [load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("one", "two")]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, atol=1e-4, rtol=1e-3, msg=key)


def test_what_a_window_draws_does_not_depend_on_its_neighbours() -> None:
    """The loss of three windows is the weighted mean of the losses of its parts."""
    config = mini_config()
    model, windows = mini_model(config), make_windows(config, batch=3)
    windows.pack_mask[1, 2:] = windows.frame_mask[1, 2:] = False
    windows.target_mask[2, 0, 4:] = False

    def part(rows: list[int]) -> WindowBatch:
        return type(windows)(**{name: getattr(windows, name)[rows] for name in windows.__dataclass_fields__})

    with torch.no_grad():
        whole = window_loss(model, windows, generators([0, 1, 2]), obs_loss_frames=2)
        parts = [window_loss(model, part([i]), generators([i]), obs_loss_frames=2) for i in range(3)]
    action = sum(p.action * p.num_actions for p in parts) / whole.num_actions
    frames = sum(p.observation * p.num_frames for p in parts) / whole.num_frames
    torch.testing.assert_close(action, whole.action)
    torch.testing.assert_close(frames, whole.observation)


def test_recomputed_blocks_give_the_same_gradients() -> None:
    config = mini_config()
    gradients = []
    for on in (False, True):
        model = mini_model(config)
        model.nova.recompute_blocks(on)
        window_loss(model, make_windows(config), torch.Generator().manual_seed(0)).total.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)
