# SPDX-License-Identifier: Apache-2.0
"""Tests check the shapes that the annotations of the model's doors promise; conftest.py at the root sees to that."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.physgen import PhysGen


@pytest.mark.parametrize("name", ["past_actions", "boa", "target_actions", "plan_mask"])
def test_a_batch_whose_tensors_do_not_fit_each_other_is_refused(windows: WindowBatch, name: str) -> None:
    """One pack too few in one of them would broadcast, or fail far from here."""
    with pytest.raises(TypeCheckError):
        replace(windows, **{name: getattr(windows, name)[:, :-1]})


def test_the_network_is_asked_with_the_rows_of_one_batch(model: PhysGen, windows: WindowBatch) -> None:
    text = model.text_tokens(windows.text_states, windows.text_lengths)
    arguments = (windows.latents[:, :-1], windows.past_actions, windows.boa)
    model.full(text, *arguments)
    with pytest.raises(TypeCheckError):
        model.full(text[:1], *arguments)
    with pytest.raises(TypeCheckError):
        model.append(model.start(text), windows.latents[:, 0], windows.past_actions[:, 0], torch.zeros(1))
