# SPDX-License-Identifier: Apache-2.0
"""Which optimiser trains what, and at which rate."""

import pytest
import torch
from model_windows import mini_config
from torch import nn
from torch.optim import AdamW, Muon
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from physgen_policy.model.physgen import PhysGen
from physgen_policy.training.optim import WeightAverage, build_optimizers


def trained_by(model: nn.Module, muon_learning_rate: float) -> dict[str, set[str]]:
    """Names of the parameters per class of optimiser; a parameter with two owners fails."""
    names = {id(p): name for name, p in model.named_parameters()}
    owners: dict[str, set[str]] = {"AdamW": set(), "Muon": set()}
    for optimizer in build_optimizers(
        model,
        learning_rate=1e-3,
        min_learning_rate=1e-5,
        muon_learning_rate=muon_learning_rate,
        weight_decay=0.02,
    ):
        assert isinstance(optimizer, AdamW | Muon)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                kind = "Muon" if isinstance(optimizer, Muon) else "AdamW"
                owners[kind].add(names.pop(id(parameter)))
    assert not names, f"nothing trains {sorted(names.values())}"
    return owners


def test_without_a_rate_muon_trains_nothing() -> None:
    assert trained_by(PhysGen(mini_config()), 0.0)["Muon"] == set()


def test_muon_trains_hidden_matrices_and_leaves_closed_gates_alone() -> None:
    model = PhysGen(mini_config())
    muon = trained_by(model, 0.02)["Muon"]
    assert {
        f"nova.video_encoder.blocks.0.{part}.weight" for part in ("attn.proj", "mlp.fc1", "mlp.fc2")
    } <= muon
    # Under Muon the product of queries and keys grows until attention sees single keys only.
    assert not [name for name in muon if "qkv" in name or "cross_q" in name]
    assert all("blocks." in name and model.get_parameter(name).ndim == 2 for name in muon)
    # Adaptive norms and modulations start at zero and open as far as the loss asks, not at a fixed speed.
    assert all(model.get_parameter(name).detach().count_nonzero() for name in muon)


def test_one_muon_step_has_the_spectral_norm_of_the_rate_whatever_the_gradient() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(32, 32, bias=False)])})
    weight = next(iter(model.parameters()))
    before = weight.detach().clone()
    optimizers = build_optimizers(
        model, learning_rate=1e-3, min_learning_rate=1e-5, muon_learning_rate=0.02, weight_decay=0.0
    )
    assert [o.param_groups[0]["floor_lr"] for o in optimizers] == pytest.approx([1e-5, 2e-4])
    weight.grad = 1e-6 * torch.randn(32, 32)
    for optimizer in optimizers:
        optimizer.step()
    singular = torch.linalg.svdvals(weight.detach() - before)
    # The Newton-Schulz iteration is stopped early: singular values end near one, not at it.
    assert 0.5 * 0.02 < singular.median() < 1.3 * 0.02 and singular.max() < 1.3 * 0.02


def test_the_average_of_weights_is_that_of_torch() -> None:
    """Once the warm-up, which torch does not have, is above the decay; torch's copy would hold frozen weights twice."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    decay = 0.15  # the warm-up begins at 2 / 11
    ours = WeightAverage({"model": model}, decay)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    theirs.update_parameters(model)  # torch's first update copies
    for _ in range(5):
        with torch.no_grad():
            model.weight += torch.randn(2, 3)
        ours.update()
        theirs.update_parameters(model)
    torch.testing.assert_close(ours.shadow["model.weight"], theirs.module.weight)
    current = model.weight.detach().clone()
    ours.swap()
    torch.testing.assert_close(model.weight, theirs.module.weight)
    ours.swap()
    assert torch.equal(model.weight, current)
