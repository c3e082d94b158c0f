# SPDX-License-Identifier: Apache-2.0
"""Which episodes are held out depends on each episode alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_control.errors import UserError
from physgen_policy.training.held_out import episode_position, split_episodes

POSITIONS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60)


@given(POSITIONS, POSITIONS, st.floats(0, 0.9), st.integers(1, 50))
def test_more_data_never_moves_an_episode_into_training(
    first: list[float], more: list[float], share: float, at_most: int
) -> None:
    try:
        before = split_episodes(first, share, at_most)
    except UserError:
        return
    after = split_episodes([*first, *more], share, at_most)
    assert set(after.train) & set(range(len(first))) == set(before.train)
    assert not set(after.train) & (set(before.validation) | set(after.validation))
    assert len(after.validation) <= at_most


def test_the_share_is_held_out_of_many_episodes() -> None:
    rng = np.random.default_rng(0)
    positions = [episode_position(rng.normal(size=(3, 7)).astype(np.float32)) for _ in range(2000)]
    split = split_episodes(positions, 0.05, 1000)
    assert 60 <= len(split.validation) <= 140  # 100, 4 standard deviations are 39
    assert len(split.train) + len(split.validation) == 2000


def test_nothing_is_held_out_where_nobody_looks() -> None:
    assert split_episodes([0.0, 0.5], 0.9, 0).train == [0, 1]
    with pytest.raises(UserError, match="all 2 episodes are held out"):
        split_episodes([0.0, 0.1], 0.5, 3)
