# SPDX-License-Identifier: Apache-2.0
"""The joint loss: what counts, what does not, and that it can be learned."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from model_windows import make_windows, mini_config

from physgen_policy.model.batch import Losses, WindowBatch
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.window_loss import anchors, window_loss
from physgen_policy.sampling.actions import sample_actions
from physgen_policy.sampling.solver import SamplerConfig


def loss(model: PhysGen, windows: WindowBatch, **settings: Any) -> Losses:
    return window_loss(model, windows, torch.Generator().manual_seed(3), **settings)


def test_an_untrained_model_predicts_zero_noise(config, windows):
    """Closed gates: both losses start at the variance of the noise."""
    torch.manual_seed(0)
    losses = loss(PhysGen(config), windows)
    assert losses.action.item() == pytest.approx(1.0, abs=0.1)
    assert losses.observation.item() == pytest.approx(1.0, abs=0.15)


def test_padding_contributes_nothing(model, windows):
    """Whatever stands in padded packs and masked targets, even NaN, loss and gradients stay bit for bit."""
    mask = windows.pack_mask.clone()
    mask[0, 2:] = mask[1, 4:] = False
    target_mask = windows.target_mask.clone()
    target_mask[:, 0, 5:] = False
    base = replace(windows, pack_mask=mask, frame_mask=mask, target_mask=target_mask)

    def with_padding(value: float) -> tuple[torch.Tensor, torch.Tensor]:
        latents, past, target = base.latents.clone(), base.past_actions.clone(), base.target_actions.clone()
        latents[0, 3:], past[0, 2:], target[0, 2:], target[:, 0, 5:] = value, value, value, value
        model.zero_grad()
        changed = replace(base, latents=latents, imagined=latents, past_actions=past, target_actions=target)
        total = loss(model, changed).total
        total.backward()
        return total.detach(), model.action_tokenizer.slot.grad.clone()

    zeros, nans = with_padding(0.0), with_padding(float("nan"))
    assert torch.equal(zeros[0], nans[0]) and torch.equal(zeros[1], nans[1])


def test_windows_without_a_next_frame_have_no_frame_loss(model, windows):
    """No target frame anywhere: the frame loss is zero and still differentiable."""
    losses = loss(model, replace(windows, frame_mask=torch.zeros_like(windows.frame_mask)))
    assert losses.observation.item() == 0.0
    losses.total.backward()


def test_the_frame_loss_can_be_left_out(model, windows):
    """obs_loss_frames=0 trains actions alone."""
    losses = loss(model, windows, obs_loss_frames=0)
    assert losses.observation.item() == 0.0 and torch.equal(losses.total, losses.action)


def test_every_trainable_part_gets_a_gradient(build_model):
    """Nothing is disconnected except the motion tokens, which the window layout drops."""
    _, model, windows = build_model(memory_frames=True)
    loss(model, windows).total.backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None]
    assert all(name.startswith("nova.motion_embed") for name in silent), silent


def test_instructions_share_an_anchor_only_when_equal(model, windows):
    """The anchors computed once per distinct instruction are those of a plain per-window pass."""
    states = windows.text_states[[0, 1, 0]]
    batch = replace(
        make_windows(model.config, batch=3), text_states=states, text_lengths=torch.tensor([4, 4, 4])
    )
    text = model.text_tokens(batch.text_states, batch.text_lengths)
    torch.testing.assert_close(
        anchors(model.nova, batch, text), model.nova.anchor(text), atol=1e-5, rtol=1e-5
    )


def test_bfloat16_autocast_stays_close(model, windows):
    """Training under autocast computes the same loss up to its rounding."""
    exact = loss(model, windows).total
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss(model, windows).total
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.05)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_loss_falls_and_the_memorised_actions_come_back(prediction):
    """Four windows are learned well enough that DDIM with 10 steps returns their actions, whatever is predicted."""
    config = mini_config(plan_conditioning=False, prediction=prediction)
    torch.manual_seed(0)
    model = PhysGen(config)
    windows = make_windows(config, batch=4, packs=1)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=300, pct_start=0.1)
    first = 0.0
    for step in range(300):
        losses = window_loss(model, windows, generator, obs_loss_frames=int(step < 3), draws=8)
        first = losses.action.item() if step == 0 else first
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    assert losses.action.item() < 0.15 * first
    text = model.text_tokens(windows.text_states, windows.text_lengths)
    with torch.no_grad():
        out = model.full(text, windows.latents[:, :1], windows.past_actions, windows.boa)
        sampled = sample_actions(model, out.action_hidden[:, 0], None, SamplerConfig(), generator)
    error = (sampled.flatten(1, 2) - windows.target_actions[:, 0]).abs().mean()
    assert error < 0.1
