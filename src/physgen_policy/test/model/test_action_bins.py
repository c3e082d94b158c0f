# SPDX-License-Identifier: Apache-2.0
"""Actions as classes: nothing is lost but half a bin, guessing costs 1, and a model of them trains and acts."""

import hypothesis.strategies as st
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from physgen_policy.model.action_bins import bin_centers, bin_indices, bin_losses, most_likely
from physgen_policy.model.window_loss import window_loss
from physgen_policy.sampling.actions import ActionDenoiser
from physgen_policy.sampling.solver import SamplerConfig

BINS = st.integers(2, 512)


@given(values=arrays("float32", (4, 7), elements=st.floats(-3, 3, width=32)), bins=BINS)
def test_a_class_says_its_number_to_half_a_bin(values, bins):
    """Numbers beyond [-1, 1] become the outer bins; classes always exist."""
    actions = torch.from_numpy(values)
    classes = bin_indices(actions, bins)
    assert classes.min() >= 0 and classes.max() < bins
    error = (bin_centers(classes, bins) - actions.clamp(-1, 1)).abs().max()
    assert error <= 1 / bins + 1e-6


@given(bins=BINS)
def test_every_class_is_that_of_its_centre(bins):
    """So a prediction that is fed back as an action is the same class again."""
    classes = torch.arange(bins)
    assert torch.equal(bin_indices(bin_centers(classes, bins), bins), classes)


def test_guessing_costs_one_and_knowing_nothing():
    """Whatever the number of bins."""
    actions = torch.rand(3, 5, 7) * 2 - 1
    for bins in (16, 256):
        guess = torch.zeros(3, 5, 7 * bins)
        torch.testing.assert_close(bin_losses(guess, actions, bins), torch.ones(3, 5))
        sure = torch.nn.functional.one_hot(bin_indices(actions, bins), bins).float().flatten(-2) * 100
        assert bin_losses(sure, actions, bins).max() < 1e-3
        assert (most_likely(sure, bins) - actions).abs().max() <= 1 / bins + 1e-6


def test_a_head_that_classifies_learns_one_window(build_model):
    """The loss falls, one evaluation acts, and which noise is drawn does not matter."""
    _, model, windows = build_model(prediction="bins", bins=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = window_loss(model, windows, torch.Generator().manual_seed(0), obs_loss_frames=0).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert abs(losses[0] - 1.0) < 0.3 and losses[-1] < 0.5 * losses[0]
    memory = torch.randn(2, 8, model.config.nova.width)
    denoiser = ActionDenoiser(model.action_head, SamplerConfig(samples=4))
    with torch.no_grad():
        first, again = (denoiser.sample(memory, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert denoiser.evaluations == 1
    assert torch.equal(first, again) and first.shape[1:] == (3, model.config.action.horizon, 7)
    assert first.abs().max() <= 1.0


def test_broken_logits_become_no_action():
    """Weights that are not numbers must not pass for a sure choice: what refuses NaN actions has to see them."""
    logits = torch.zeros(2, 3, 7 * 16)
    logits[1, 2, 5] = float("nan")
    actions = most_likely(logits, 16)
    assert torch.isnan(actions[1, 2, 0]) and int(torch.isnan(actions).sum()) == 1
