# SPDX-License-Identifier: Apache-2.0
"""Optimisers and their groups, the learning-rate schedule as a pure function of the step, the average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from physgen_policy.cost.machine import cpu_multiplies_bf16
from physgen_policy.training.muon import Float32Muon


def learning_rate_at(step: int, *, steps: int, warmup_steps: int, peak: float, floor: float) -> float:
    """Return the learning rate of a step: linear warm-up to `peak`, then a cosine to `floor` at `steps`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimizers(
    module: nn.Module,
    *,
    learning_rate: float,
    min_learning_rate: float,
    muon_learning_rate: float,
    weight_decay: float,
) -> list[Optimizer]:
    """Return AdamW for everything, or AdamW and Muon for the matrices within blocks that make no queries.

    Muon is that of Jordan et al. 2024. Each group's highest learning rate is its `peak_lr`, its last one `floor_lr`;
    Muon's falls in the same proportion.

    Args:
        module: Whose trainable parameters are grouped.
        learning_rate: AdamW's highest.
        min_learning_rate: AdamW's last.
        muon_learning_rate: Spectral norm of one update of a square matrix; 0 leaves Muon out.
        weight_decay: Of matrices.
    """
    names = {id(p): name for name, p in module.named_parameters()}
    hidden: list[nn.Parameter] = []
    decay: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            if muon_learning_rate > 0 and _is_hidden(names[id(parameter)], parameter):
                hidden.append(parameter)
            else:
                (decay if _is_matrix(parameter) else rest).append(parameter)
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = [AdamW(groups, lr=learning_rate, betas=(0.9, 0.95))]
    if hidden:
        slow_bf16 = hidden[0].device.type == "cpu" and not cpu_multiplies_bf16()
        muon = Float32Muon if slow_bf16 else Muon
        optimizers.append(muon(hidden, lr=muon_learning_rate, weight_decay=weight_decay))
    proportion = min_learning_rate / learning_rate if learning_rate > 0 else 0.0
    floors = (min_learning_rate, muon_learning_rate * proportion)
    for optimizer, floor in zip(optimizers, floors, strict=False):
        for group in optimizer.param_groups:
            group["peak_lr"], group["floor_lr"] = group["lr"], floor
    return optimizers


# Modulations begin at zero on purpose; Muon would open them at full speed. Queries meet keys in a product that nothing
# bounds, and under Muon the logits grow until a single key is seen and the instruction is not (docs/notes/training.md).
NOT_FOR_MUON = ("modulation", "norm", "qkv", "cross_q")


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a matrix between two hidden layers that Muon can train."""
    inside = "blocks." in name and not any(part in name for part in NOT_FOR_MUON)
    return inside and parameter.ndim == 2 and _is_matrix(parameter)


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a matrix with more than 16 rows.

    Learned tokens are stored as [1, d] or [slots, d]; a weight has more rows in every preset.
    """
    return parameter.ndim > 1 and parameter.shape[0] > 16


class WeightAverage:
    """Exponential moving average of trained parameters; frozen ones and buffers are taken as they are.

    The decay grows with the step, min(decay, (1 + step) / (10 + step)), so that early averages are not dominated by
    the initial weights.
    """

    def __init__(self, modules: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.modules = modules
        self.step = 0
        self.shadow = {key: p.detach().clone() for key, p in self._named()}

    def _named(self) -> Iterable[tuple[str, nn.Parameter]]:
        for prefix, module in self.modules.items():
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    yield f"{prefix}.{name}", parameter

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the current weights."""
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        keys_values = list(self._named())
        torch._foreach_lerp_(
            [self.shadow[key] for key, _ in keys_values], [p.detach() for _, p in keys_values], 1 - decay
        )

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange current and averaged weights; call it twice to get back."""
        for key, parameter in self._named():
            current = parameter.detach().clone()
            parameter.copy_(self.shadow[key])
            self.shadow[key].copy_(current)
