# SPDX-License-Identifier: Apache-2.0
"""Muon in float32 is torch's Muon, but for the rounding of bfloat16."""

import pytest
import torch
from torch.optim import Muon

from physgen_policy.training.muon import Float32Muon, orthogonalised


@pytest.mark.parametrize("shape", [(24, 24), (48, 24), (24, 48)])
def test_steps_agree_with_those_of_torch(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=random)
    gradients = [torch.randn(shape, generator=random) for _ in range(4)]
    ended = []
    for kind in (Muon, Float32Muon):
        weight = torch.nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.02, weight_decay=0.1)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        ended.append(weight.detach() - start)
    assert float((ended[0] - ended[1]).norm() / ended[0].norm()) < 0.03  # bfloat16 has eight bits
    assert float(ended[0].norm()) > 0.1


def test_every_singular_value_comes_near_one() -> None:
    matrix = torch.diag(torch.tensor([1.0, 0.3, 0.05])) @ torch.randn(
        3, 20, generator=torch.Generator().manual_seed(1)
    )
    values = torch.linalg.svdvals(orthogonalised(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7))
    assert float(values.min()) > 0.5 and float(values.max()) < 1.5
