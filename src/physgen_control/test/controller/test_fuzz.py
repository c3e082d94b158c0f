# SPDX-License-Identifier: Apache-2.0
"""The laws of controller_world.py under random events; a sample here, a million of them in `./physgen test --all`."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from controller_events import random_event, random_world

WORLD_EVENTS = 400
"""Events after which a new world begins."""


def fuzz(first_seed: int, events: int, *, arm: bool) -> Counter[str]:
    """Return what happened."""
    counts: Counter[str] = Counter()
    seed = first_seed
    while counts["messages"] < events:
        rng = np.random.default_rng(seed)
        world = random_world(rng, arm=arm)
        for number in range(WORLD_EVENTS):
            try:
                counts["messages"] += random_event(world, rng, counts)
            except Exception as error:
                raise AssertionError(f"seed {seed}, event {number}: {error}") from error
        counts["actions"] += world.actions
        counts["moves"] += world.moves
        counts["trajectories"] += world.audit.sent
        counts["milliseconds of motion"] += world.audit.samples
        seed += 1
    return counts


@pytest.mark.parametrize("arm", [True, False])
def test_no_order_of_events_breaks_a_law(arm: bool) -> None:
    counts = fuzz(0, 12_000, arm=arm)
    assert counts["chunk ACCEPTED"] > 20, counts  # otherwise the laws say nothing
    assert not arm or (counts["moves"] > 200 and counts["trajectories"] > 100), counts


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("part", range(4))
def test_a_million_events_break_no_law(part: int) -> None:
    counts = fuzz(1_000_000 * (part + 1), 250_000, arm=True)
    print(dict(counts))
