# SPDX-License-Identifier: Apache-2.0
"""An auxiliary loss that teaches a backbone trained from scratch where things are; the head is not in the checkpoint.

The noise-prediction loss says little about where to go: most steps of a demonstration are the same for every scene. A
linear map from the action slots to the hand's displacement after every future step puts all of it into one regression.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WaypointHead(nn.Module):
    """Action slots -> displacement of the hand after each of the future steps, in normalised action units."""

    AXES = 3

    def __init__(self, width: int, horizon: int, num_chunks: int) -> None:
        super().__init__()
        self.horizon, self.num_chunks = horizon, num_chunks
        self.output = nn.Linear(width, num_chunks * self.AXES)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, action_hidden: Tensor) -> Tensor:
        """Return [..., 24, 3] of [..., 8, d]; slot i speaks for step i of every chunk."""
        out: Tensor = self.output(action_hidden).unflatten(-1, (self.num_chunks, self.AXES))
        return out.transpose(-3, -2).flatten(-3, -2)

    def loss(self, action_hidden: Tensor, target_actions: Tensor, target_mask: Tensor) -> Tensor:
        """Return the mean Huber error of the displacements.

        Args:
            action_hidden: [b, p, 8, d].
            target_actions: Normalised, [b, p, 24, a], the translation first.
            target_mask: bool [b, p, 24], a prefix.
        """
        # Steps of one sign add up; the root of the horizon keeps a chunk's displacement near unit size.
        wanted = target_actions[..., : self.AXES].float().cumsum(dim=-2) / self.horizon**0.5
        errors = F.smooth_l1_loss(self(action_hidden).float(), wanted, reduction="none").mean(dim=-1)
        return torch.where(target_mask, errors, 0.0).sum() / target_mask.sum().clamp(min=1)
