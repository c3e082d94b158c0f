# SPDX-License-Identifier: Apache-2.0
"""Actions as tokens of the backbone: one token per action, plus learned tokens for missing chunks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ActionTokenizer(nn.Module):
    """Action -> token, and the learned tokens that stand for missing actions and for positions inside a pack."""

    def __init__(self, action_dim: int, horizon: int, num_chunks: int, width: int) -> None:
        super().__init__()
        first, second = nn.Linear(action_dim, width), nn.Linear(width, width)
        self.mlp = nn.Sequential(first, nn.SiLU(), second)
        self.slot = nn.Parameter(torch.empty(horizon, width))
        self.boa = nn.Parameter(torch.empty(horizon, width))
        self.plan = nn.Parameter(torch.empty(num_chunks - 1, 1, width))
        # Tokens enter a post-norm stream: give them the unit variance of frame tokens. Normalised actions have a
        # standard deviation near one half, and SiLU lets about a third of the variance through.
        for linear, gain in ((first, 2.0), (second, 1.7)):
            nn.init.trunc_normal_(linear.weight, std=gain * linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
        for parameter in (self.slot, self.boa, self.plan):
            if parameter.numel() == 0:
                continue  # one chunk has no plan
            nn.init.trunc_normal_(parameter, std=0.5)

    def forward(self, actions: Tensor) -> Tensor:
        """Normalised actions [..., horizon, a] -> [..., horizon, d], without the time of the pack."""
        tokens: Tensor = self.mlp(actions.to(self.slot.dtype)) + self.slot
        return tokens

    def lookahead(self, actions: Tensor) -> Tensor:
        """Planned but unexecuted actions [..., (chunks - 1) x horizon, a] -> [..., the same count, d]."""
        chunks, horizon = self.plan.shape[0], self.slot.shape[0]
        tokens = self(actions.unflatten(-2, (chunks, horizon))) + self.plan
        return tokens.flatten(-3, -2)
