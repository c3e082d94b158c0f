# SPDX-License-Identifier: Apache-2.0
"""Nothing flows backwards in time, cached and uncached passes agree, rows do not mix."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.cache import CacheOverflowError, KVCache
from physgen_policy.model.context import WindowFullError
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.window_loss import window_loss


def hidden(model: PhysGen, windows: WindowBatch) -> Any:
    text = model.text_tokens(windows.text_states, windows.text_lengths)
    packs = windows.past_actions.shape[1]
    with torch.no_grad():
        return model.full(text, windows.latents[:, :packs], windows.past_actions, windows.boa)


@pytest.mark.parametrize("rope", ["none", "rope_t"])
@pytest.mark.parametrize("pack", range(5))
def test_a_later_frame_or_chunk_never_changes_an_earlier_output(build_model, rope, pack):
    """Bit for bit: what comes at or after pack n leaves the outputs before it alone."""
    _, model, windows = build_model(rope=rope)
    before = hidden(model, windows)
    latents, actions = windows.latents.clone(), windows.past_actions.clone()
    latents[:, pack:] += 3.0
    actions[:, pack:] = 0.123
    after = hidden(model, replace(windows, latents=latents, past_actions=actions))
    assert torch.equal(before.frame_hidden[:, :pack], after.frame_hidden[:, :pack])
    assert torch.equal(before.action_hidden[:, :pack], after.action_hidden[:, :pack])
    assert not torch.equal(before.frame_hidden[:, pack:], after.frame_hidden[:, pack:])


def test_the_frame_slots_do_not_see_the_actions_of_their_pack(model, windows):
    """The one-way edge: changing A_n changes the action slots of pack n, not its frame slots."""
    before = hidden(model, windows)
    actions = windows.past_actions.clone()
    actions[:, 4] = 0.9
    after = hidden(model, replace(windows, past_actions=actions))
    assert torch.equal(before.frame_hidden, after.frame_hidden)
    assert not torch.equal(before.action_hidden[:, 4], after.action_hidden[:, 4])


def test_a_later_action_of_a_chunk_never_changes_an_earlier_slot(model, windows):
    """Inside a chunk the slots are causal."""
    before = hidden(model, windows)
    actions = windows.past_actions.clone()
    actions[:, 2, 1:] += 0.5
    after = hidden(model, replace(windows, past_actions=actions))
    assert torch.equal(before.action_hidden[:, 2, :1], after.action_hidden[:, 2, :1])
    assert not torch.equal(before.action_hidden[:, 2, 1:], after.action_hidden[:, 2, 1:])


def test_targets_are_not_inputs(model, windows):
    """The chunk to be predicted and the next frame do not enter the pack that predicts them."""
    before = hidden(model, windows)
    latents = windows.latents.clone()
    latents[:, -1] = torch.nan  # frame 5 is only a target
    changed = replace(
        windows,
        latents=latents,
        target_actions=windows.target_actions * torch.nan,
        plan_actions=windows.plan_actions * 9,
    )
    after = hidden(model, changed)
    assert torch.equal(before.frame_hidden, after.frame_hidden)
    assert torch.equal(before.action_hidden, after.action_hidden)


def test_where_a_pack_begins_its_actions_are_ignored(model, windows):
    """Begin-of-action replaces the chunk entirely, even when it holds NaN."""
    before = hidden(model, windows)
    actions = windows.past_actions.clone()
    actions[:, 0] = torch.nan
    after = hidden(model, replace(windows, past_actions=actions))
    assert torch.equal(before.action_hidden, after.action_hidden)


def test_a_model_without_past_actions_sees_frames_alone(build_model):
    """`past_actions: false`: no executed action enters any pack, on the whole window or pack by pack."""
    _, model, windows = build_model(past_actions=False)
    before = hidden(model, windows)
    after = hidden(model, replace(windows, past_actions=windows.past_actions * torch.nan))
    assert torch.equal(before.action_hidden, after.action_hidden)
    assert torch.equal(before.frame_hidden, after.frame_hidden)
    context = model.start(model.text_tokens(windows.text_states, windows.text_lengths))
    for pack in range(5):
        past = None if pack == 0 else windows.past_actions[:, pack]
        with torch.no_grad():
            out = model.append(context, windows.latents[:, pack], past)
        torch.testing.assert_close(out.action_hidden, before.action_hidden[:, pack], atol=1e-5, rtol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(model, windows):
    """Replacing the second window leaves the first one's outputs bit for bit."""
    before = hidden(model, windows)
    latents = windows.latents.clone()
    latents[1] = 7.0
    after = hidden(model, replace(windows, latents=latents))
    assert torch.equal(before.frame_hidden[0], after.frame_hidden[0])
    assert not torch.equal(before.frame_hidden[1], after.frame_hidden[1])


@pytest.mark.parametrize("rope", ["none", "rope_t"])
def test_cached_equals_full_at_every_pack(build_model, rope):
    """Pack by pack on the cache gives what the whole window gives."""
    _, model, windows = build_model(rope=rope)
    whole = hidden(model, windows)
    with torch.no_grad():
        context = model.start(model.text_tokens(windows.text_states, windows.text_lengths))
        for pack in range(5):
            past = None if pack == 0 else windows.past_actions[:, pack]
            out = model.append(context, windows.latents[:, pack], past)
            torch.testing.assert_close(out.frame_hidden, whole.frame_hidden[:, pack], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(out.action_hidden, whole.action_hidden[:, pack], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_a_rebuilt_context_equals_a_fresh_one(model, windows, keep):
    """Moving the window recomputes the kept packs at their new time indices."""
    text = model.text_tokens(windows.text_states, windows.text_lengths)
    with torch.no_grad():
        context = model.start(text)
        for pack in range(5):
            model.append(context, windows.latents[:, pack], windows.past_actions[:, pack])
        moved = model.rebuild(context, keep)
        fresh = model.start(text)
        for pack in range(5 - keep, 5):
            model.append(fresh, windows.latents[:, pack], windows.past_actions[:, pack])
        ours = model.append(moved, windows.latents[:, 5], windows.past_actions[:, 0])
        theirs = model.append(fresh, windows.latents[:, 5], windows.past_actions[:, 0])
    torch.testing.assert_close(ours.action_hidden, theirs.action_hidden, atol=1e-5, rtol=1e-5)
    assert context.num_packs == 5 and moved.num_packs == keep + 1


def test_a_full_window_says_so(model, windows):
    """The sixth pack is refused with a sentence and leaves the context usable."""
    with torch.no_grad():
        context = model.start(model.text_tokens(windows.text_states, windows.text_lengths))
        for pack in range(5):
            model.append(context, windows.latents[:, pack], None)
        with pytest.raises(WindowFullError, match="rebuild the context"):
            model.append(context, windows.latents[:, 5], None)
    assert context.is_full and context.num_packs == 5


def test_the_cache_refuses_more_rows_than_it_has():
    """An overflow is an error, never a silent overwrite."""
    cache = KVCache(
        layers=1, batch=1, heads=1, capacity=3, head_dim=2, dtype=torch.float32, device=torch.device("cpu")
    )
    cache.write(0, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    cache.advance(2)
    with pytest.raises(CacheOverflowError, match="holds 3 tokens, 2 are used and 2 more"):
        cache.write(0, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


def test_training_leaves_no_state_that_changes_prediction(model, windows):
    """A loss call between two predictions changes nothing."""
    before = hidden(model, windows)
    window_loss(model, windows, torch.Generator().manual_seed(0)).total.backward()
    assert torch.equal(before.frame_hidden, hidden(model, windows).frame_hidden)
