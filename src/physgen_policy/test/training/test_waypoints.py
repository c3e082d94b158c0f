# SPDX-License-Identifier: Apache-2.0
"""The auxiliary regression: what it regresses, what it ignores, and that it never enters a checkpoint."""

from __future__ import annotations

import torch

from physgen_policy.training.waypoints import WaypointHead

HORIZON, CHUNKS, WIDTH = 8, 3, 12


def test_slot_i_speaks_for_step_i_of_every_chunk() -> None:
    head = WaypointHead(WIDTH, HORIZON, CHUNKS)
    torch.nn.init.normal_(head.output.weight)
    hidden = torch.zeros(1, 1, HORIZON, WIDTH)
    hidden[0, 0, 2] = 1.0
    changed = head(hidden)[0, 0].abs().sum(dim=-1) > 1e-6
    assert changed.nonzero().flatten().tolist() == [2, 10, 18]


def test_the_target_is_the_displacement_so_far() -> None:
    """With a zero head and small constant motion the Huber error is half the mean square of the summed motion."""
    head = WaypointHead(WIDTH, HORIZON, CHUNKS)
    actions = torch.full((1, 1, HORIZON * CHUNKS, 7), 0.01)
    mask = torch.ones(1, 1, HORIZON * CHUNKS, dtype=torch.bool)
    sums = 0.01 * torch.arange(1, HORIZON * CHUNKS + 1) / HORIZON**0.5
    loss = head.loss(torch.zeros(1, 1, HORIZON, WIDTH), actions, mask)
    torch.testing.assert_close(loss, 0.5 * sums.square().mean())


def test_masked_steps_count_for_nothing() -> None:
    head = WaypointHead(WIDTH, HORIZON, CHUNKS)
    hidden = torch.randn(2, 1, HORIZON, WIDTH)
    actions = torch.randn(2, 1, HORIZON * CHUNKS, 7)
    mask = torch.zeros(2, 1, HORIZON * CHUNKS, dtype=torch.bool)
    mask[0, 0, :5] = True
    expected = head.loss(hidden[:1], actions[:1], mask[:1])
    actions[0, 0, 5:] = float("nan")
    actions[1] = float("inf")
    torch.testing.assert_close(head.loss(hidden, actions, mask), expected)
    assert head.loss(hidden, actions, torch.zeros_like(mask)) == 0.0
