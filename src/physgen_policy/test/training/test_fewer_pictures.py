# SPDX-License-Identifier: Apache-2.0
"""A picture per N control steps: the windows that begin at one are those of the same episode with all pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import write_tiny_checkpoint

from physgen_control.types import PICTURE_INTERVALS
from physgen_policy.checkpoint import load_checkpoint
from physgen_policy.data.windows import Window, max_packs
from physgen_policy.training.batches import EpisodeTensors, collate, draw_windows, shown_starts
from physgen_policy.training.samples import prediction_sample

HORIZON, CHUNKS = 8, 3
IDLE = np.zeros(7, np.float32)


def episode(steps: int, shape: tuple[int, ...] = (1, 1, 1)) -> EpisodeTensors:
    """Latents that tell their control step by their first number."""
    latents = torch.randn(steps + 1, *shape, generator=torch.Generator().manual_seed(0))
    latents[:, 0, 0, 0] = torch.arange(steps + 1)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 7)).astype(np.float32)
    return EpisodeTensors(latents.half(), actions, np.ones(steps, bool), "pick")


def with_fewer(whole: EpisodeTensors, every: int) -> EpisodeTensors:
    return EpisodeTensors(whole.latents[::every], whole.actions, whole.labels, whole.instruction, every)


def batch_of(picked: list[tuple[EpisodeTensors, Window]]) -> dict[str, Any]:
    batch = collate(picked, horizon=HORIZON, num_chunks=CHUNKS, idle=IDLE)
    return {name: getattr(batch, name) for name in batch.__slots__}


@given(
    steps=st.integers(1, 60),
    every=st.sampled_from(PICTURE_INTERVALS),
    start=st.integers(0, 59),
    boa=st.booleans(),
)
def test_a_window_is_the_same_with_fewer_pictures(steps: int, every: int, start: int, boa: bool) -> None:
    """Up to the frame beyond the end, which is masked; there the last picture stands in."""
    start = min(start, steps - 1) // every * every
    window = Window(start, max_packs(steps, start, 5, HORIZON), boa or start < HORIZON)
    whole = episode(steps)
    expected, found = batch_of([(whole, window)]), batch_of([(with_fewer(whole, every), window)])
    kept = torch.cat([torch.ones(1, 1, dtype=torch.bool), expected["frame_mask"]], dim=1)
    for name, value in expected.items():
        if name in ("latents", "imagined"):
            assert torch.equal(found[name][kept], value[kept])
            assert (found[name][~kept].flatten() == steps // every * every).all()
        elif name == "instructions":
            assert found[name] == value
        else:
            assert torch.equal(found[name], value)


def test_episodes_of_different_intervals_share_a_batch() -> None:
    episodes = [with_fewer(episode(30), every) for every in PICTURE_INTERVALS]
    rngs = [np.random.default_rng(seed) for seed in range(200)]
    picked = draw_windows(episodes, rngs, context_packs=5, horizon=HORIZON, aligned_fraction=0.3)
    latents = batch_of(picked)["latents"]
    assert {e.picture_every for e, _ in picked} == set(PICTURE_INTERVALS)
    for (_, window), frames in zip(picked, latents, strict=True):
        steps = window.start + HORIZON * np.arange(window.num_packs)
        assert frames[: window.num_packs].flatten().tolist() == steps.tolist()


@pytest.mark.parametrize(("steps", "last"), [(24, 24), (22, 20)])
def test_the_picture_of_a_prediction_shows_the_next_frames(tmp_path: Path, steps: int, last: int) -> None:
    """The same with fewer pictures; beyond the end the last picture stands for the next frame."""
    tiny = load_checkpoint(write_tiny_checkpoint(tmp_path))
    config = tiny.model.config
    whole = episode(steps, (config.nova.latent_channels, *config.nova.latent_size))

    def shown(one: EpisodeTensors) -> np.ndarray:
        return prediction_sample(tiny.model, tiny.text_encoder, tiny.codec, one, config)

    expected, found = shown(whole), shown(with_fewer(whole, 4))
    height, width = config.nova.image_size
    np.testing.assert_array_equal(found[height:], expected[height:])
    np.testing.assert_array_equal(found[:, : 2 * width], expected[:, : 2 * width])
    real = tiny.codec.decode(whole.latents[last : last + 1].float())[0]
    np.testing.assert_array_equal(found[:height, 2 * width :], real.numpy())


def test_starts_that_show_nothing_are_counted() -> None:
    """A push at the start hides what to do at the first picture; with a picture per step a window starts after it."""
    pushed = replace(episode(40, (2, 4, 8)), labels=np.arange(40) >= 3)
    assert shown_starts([pushed], HORIZON) == 1.0
    assert shown_starts([with_fewer(pushed, 8), with_fewer(episode(40, (2, 4, 8)), 8)], HORIZON) == 0.5
