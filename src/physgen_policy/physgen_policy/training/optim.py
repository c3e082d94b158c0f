# SPDX-License-Identifier: Apache-2.0
"""Optimiser groups, the learning-rate schedule as a pure function of the step, and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


def learning_rate_at(step: int, *, steps: int, warmup_steps: int, peak: float, floor: float) -> float:
    """Linear warm-up to `peak`, then a cosine to `floor` at `steps`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Two groups: matrices and kernels decay; norms, biases, tokens and tables do not."""
    decay: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                (decay if _is_matrix(parameter) else rest).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Learned tokens are stored as [1, d] or [slots, d]; a weight has more than 16 rows in every preset."""
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
