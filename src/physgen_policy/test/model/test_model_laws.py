# SPDX-License-Identifier: Apache-2.0
"""Laws of layout and sampling for any size."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from physgen_policy.model.embeddings import patchify, unpatchify
from physgen_policy.model.frame_loss import draw_visible_ids, masked_ids
from physgen_policy.model.mask import window_mask
from physgen_policy.sampling.frame import tokens_per_step

small = st.integers(1, 4)


@given(text=small, packs=small, frames=small, actions=small)
def test_a_window_mask_is_transitive_and_reflexive(text, packs, frames, actions):
    """If a sees b and b sees c, then a sees c: information cannot reach a token by a detour it is barred from."""
    mask = window_mask(text, packs, frames, actions)
    reach = (mask.int() @ mask.int()) > 0
    assert torch.equal(reach, mask) and mask.diagonal().all()


@given(rows=small, columns=small, patch=small, channels=small)
def test_patches_come_back(rows, columns, patch, channels):
    """patchify and unpatchify are inverse for every grid."""
    image = torch.arange(2.0 * channels * rows * columns * patch**2).view(
        2, channels, rows * patch, columns * patch
    )
    assert torch.equal(unpatchify(patchify(image, patch), (rows, columns), patch), image)


@given(tokens=st.integers(1, 300), data=st.data())
def test_generation_covers_all_tokens(tokens, data):
    """Any allowed number of steps predicts each token exactly once."""
    counts = tokens_per_step(tokens, data.draw(st.integers(1, tokens)))
    assert sum(counts) == tokens and min(counts) >= 1


@given(seed=st.integers(0, 1000), tokens=st.integers(10, 200))
def test_masks_keep_at_least_seventy_per_cent(seed, tokens):
    """Visible and masked tokens part the frame; at most 30 % are visible."""
    visible = draw_visible_ids(3, tokens, torch.Generator().manual_seed(seed), torch.device("cpu"))
    hidden = masked_ids(visible, tokens)
    assert visible.shape[1] <= 0.3 * tokens
    both = torch.cat([visible, hidden], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(tokens).expand(3, -1))
