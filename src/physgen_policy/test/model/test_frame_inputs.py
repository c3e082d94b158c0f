# SPDX-License-Identifier: Apache-2.0
"""Added inputs of the frame path: absent by default, nothing at first, and each in its place."""

from dataclasses import replace

import pytest
import torch
from model_windows import make_windows, mini_config, mini_model

from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_config import FrameConfig
from physgen_policy.model.frame_inputs import FrameCondition, FrameInputs
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.window_loss import window_loss

EVERY = FrameConfig(up=True, present=True, next_actions=True)


def inputs_of(config: ModelConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, present latents and chunks of three frames."""
    generator = torch.Generator().manual_seed(0)
    nova, action = config.nova, config.action
    hidden = torch.randn(3, nova.frame_tokens, nova.width, generator=generator)
    present = torch.randn(3, nova.latent_channels, *nova.latent_size, generator=generator)
    chunk = torch.randn(3, action.horizon, action.action_dim, generator=generator)
    return hidden, present, chunk


def test_the_default_has_no_tensors_and_the_added_maps_begin_at_zero():
    """So that published weights fit and a model that gets the maps predicts what it predicted before."""
    config = mini_config()
    assert PhysGen(config).frame_inputs is None
    assert ModelConfig.from_dict({}).frames == FrameConfig()
    hidden, present, chunk = inputs_of(config)
    condition = FrameInputs(replace(config, frames=EVERY))(hidden, hidden, present, chunk)
    assert torch.equal(condition.tokens, hidden)
    assert condition.added is not None and not condition.added.any()


@pytest.mark.parametrize("every", [False, True])
def test_a_loss_that_may_not_read_the_next_chunk_does_not_depend_on_it(every):
    """Recordings without actions teach frames too; where actions are known, they count."""
    config = mini_config(frames=EVERY if every else FrameConfig())
    model, windows = mini_model(config), make_windows(config)
    other = replace(windows, target_actions=-windows.target_actions)

    def loss(batch, known):
        random = torch.Generator().manual_seed(1)
        return window_loss(model, batch, random, actions_known=known).observation.item()

    assert loss(windows, False) == loss(other, False)
    assert (loss(windows, True) != loss(other, True)) == every


def test_a_video_token_reaches_the_image_tokens_that_it_covers_and_no_others():
    """Up is local: changing the token at row 1, column 0 of the video grid changes the square under it."""
    config = mini_config(frames=FrameConfig(up=True))
    inputs = FrameInputs(config)
    assert inputs.up is not None
    torch.nn.init.normal_(inputs.up.weight)
    hidden, _, _ = inputs_of(config)
    (rows, columns), times = config.nova.video_grid, inputs.times
    moved = hidden.clone()
    moved[:, columns] += 1.0
    before, after = (inputs(h, h, None, None).added for h in (hidden, moved))
    changed = (before != after).any(dim=2).view(3, rows, times, columns, times)
    expected = torch.zeros_like(changed)
    expected[:, 1, :, 0, :] = True
    assert times == 2 and torch.equal(changed, expected)


def test_the_present_frame_is_added_in_its_place():
    """A changed latent cell changes the one image token that shows it."""
    config = mini_config(frames=FrameConfig(present=True))
    inputs = FrameInputs(config)
    assert inputs.present is not None
    torch.nn.init.normal_(inputs.present.proj.weight)
    hidden, present, _ = inputs_of(config)
    moved = present.clone()
    moved[:, :, 0, 3] += 1.0  # second column of 2 x 2 patches
    before, after = (inputs(hidden, hidden, p, None).added for p in (present, moved))
    assert torch.equal((before != after).any(dim=2)[0].nonzero().flatten(), torch.tensor([1]))
    with pytest.raises(ValueError, match="present one too"):
        inputs(hidden, hidden, None, None)


def test_conditions_are_cut_by_rows():
    """Frames of a batch, with and without added inputs."""
    tokens, added = torch.arange(6.0).view(3, 2, 1), torch.arange(9.0).view(3, 3, 1)
    part = FrameCondition(tokens, added)[1:]
    assert (
        part.added is not None and torch.equal(part.tokens, tokens[1:]) and torch.equal(part.added, added[1:])
    )
    assert FrameCondition(tokens)[:1].added is None
