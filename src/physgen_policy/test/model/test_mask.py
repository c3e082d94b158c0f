# SPDX-License-Identifier: Apache-2.0
"""The window mask against a hand-drawn table."""

import pytest
import torch

from physgen_policy.model.mask import slot_mask, window_mask

# 2 text tokens, 2 packs of 2 frame tokens and 3 action tokens; rows are queries.
#        T T  F F A A A  F F A A A
DRAWN = """
         1 1  0 0 0 0 0  0 0 0 0 0
         1 1  0 0 0 0 0  0 0 0 0 0
         1 1  1 1 0 0 0  0 0 0 0 0
         1 1  1 1 0 0 0  0 0 0 0 0
         1 1  1 1 1 0 0  0 0 0 0 0
         1 1  1 1 1 1 0  0 0 0 0 0
         1 1  1 1 1 1 1  0 0 0 0 0
         1 1  1 1 1 1 1  1 1 0 0 0
         1 1  1 1 1 1 1  1 1 0 0 0
         1 1  1 1 1 1 1  1 1 1 0 0
         1 1  1 1 1 1 1  1 1 1 1 0
         1 1  1 1 1 1 1  1 1 1 1 1
"""


def drawn() -> torch.Tensor:
    return torch.tensor([[int(cell) for cell in row.split()] for row in DRAWN.strip().splitlines()]).bool()


def test_mask_equals_the_hand_drawn_table():
    """Full in a frame, causal in a chunk, actions see their frame but not the reverse, causal over packs."""
    assert torch.equal(window_mask(2, 2, 2, 3), drawn())


TEXT, FRAME, ACTION = slice(0, 2), slice(7, 9), slice(9, 12)
PAST_FRAME, PAST_ACTION = slice(2, 4), slice(4, 7)


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        (TEXT, TEXT, "all"),
        (TEXT, PAST_FRAME, "none"),
        (TEXT, PAST_ACTION, "none"),
        (FRAME, TEXT, "all"),
        (FRAME, PAST_FRAME, "all"),
        (FRAME, PAST_ACTION, "all"),
        (FRAME, FRAME, "all"),
        (FRAME, ACTION, "none"),
        (ACTION, TEXT, "all"),
        (ACTION, PAST_FRAME, "all"),
        (ACTION, PAST_ACTION, "all"),
        (ACTION, FRAME, "all"),
        (ACTION, ACTION, "lower"),
        (PAST_FRAME, FRAME, "none"),
        (PAST_ACTION, FRAME, "none"),
        (PAST_ACTION, ACTION, "none"),
    ],
)
def test_every_block_type(query, key, expected):
    """Each pair of token kinds has exactly one of three patterns."""
    block = window_mask(2, 2, 2, 3)[query, key]
    want = {"all": torch.ones_like(block), "none": torch.zeros_like(block)}.get(
        expected, torch.ones_like(block).tril()
    )
    assert torch.equal(block, want)


def test_rows_of_late_packs_are_the_tail_of_the_whole_mask():
    """A cached pass uses the same rule as a full one."""
    assert torch.equal(window_mask(2, 2, 2, 3, first_pack=1), drawn()[7:])


def test_without_actions_text_and_slot_zero_see_each_other():
    """The video model's own mask has text and the begin-of-video slot in one group."""
    mask = slot_mask(2, 2, 2)
    assert mask[:4, :4].all() and not mask[:4, 4:].any() and mask[4:].all()
