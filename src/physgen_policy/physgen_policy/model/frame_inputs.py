# SPDX-License-Identifier: Apache-2.0
"""What reaches the image encoder beside the mixed hidden states: maps that begin at zero and change nothing at first.

Legend: r frames, m video tokens, n image tokens, d width, k actions of a chunk, a numbers of an action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from physgen_policy.model.config import ModelConfig
from physgen_policy.model.embeddings import PatchEmbed
from physgen_policy.model.linear import initialise_linear


@dataclass(frozen=True, slots=True)
class FrameCondition:
    """What r frames are made from."""

    tokens: Tensor
    """[r, m, d], before the image tokens."""
    added: Tensor | None = None
    """[r, n, d], added to the image tokens; None: nothing is."""

    def __getitem__(self, rows: slice) -> FrameCondition:
        """Return some of the frames."""
        return FrameCondition(self.tokens[rows], None if self.added is None else self.added[rows])


class ChunkEmbed(nn.Module):
    """A whole chunk as one vector for the video tokens and one for the image tokens, both zero at first."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(numbers, width)
        self.fc2 = nn.Linear(width, 2 * width)
        initialise_linear(self.fc1)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """[r, k, a] -> [r, 1, d], [r, 1, d]."""
        vectors = self.fc2(F.silu(self.fc1(actions.flatten(1).to(self.fc1.weight.dtype))))
        tokens, image = vectors[:, None].chunk(2, dim=-1)
        return tokens, image


class FrameInputs(nn.Module):
    """The added inputs that a configuration asks for."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        nova, frames, action = config.nova, config.frames, config.action
        self.grid, self.times = nova.video_grid, nova.video_patch // nova.image_patch
        self.up = nn.Linear(nova.width, nova.width * self.times**2) if frames.up else None
        self.present = (
            PatchEmbed(nova.imagined_channels, nova.width, nova.image_patch) if frames.present else None
        )
        self.next_actions = (
            ChunkEmbed(action.horizon * action.action_dim, nova.width) if frames.next_actions else None
        )
        for layer in (self.up, None if self.present is None else self.present.proj):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(
        self, tokens: Tensor, hidden: Tensor, present: Tensor | None, next_actions: Tensor | None
    ) -> FrameCondition:
        """Complete the condition.

        Args:
            tokens: The mixed hidden states [r, m, d].
            hidden: The hidden states themselves [r, m, d].
            present: Latents of the frame that is the newest now [r, c, h, w].
            next_actions: Normalised chunk until the next frame [r, k, a]; None where nobody knows it, as in a recording
                without actions.

        Raises:
            ValueError: The present frame is asked for and was not given.
        """
        added: list[Tensor] = []
        if self.up is not None:
            added.append(self._under(self.up(hidden)))
        if self.present is not None:
            if present is None:
                raise ValueError("this model's frames are made from the present one too: pass its latents")
            added.append(self.present(present.to(self.present.proj.weight.dtype)))
        if self.next_actions is not None and next_actions is not None:
            to_tokens, to_image = self.next_actions(next_actions)
            tokens = tokens + to_tokens
            added.append(to_image.expand(-1, self.grid[0] * self.grid[1] * self.times**2, -1))
        return FrameCondition(tokens, torch.stack(added).sum(dim=0) if added else None)

    def _under(self, wide: Tensor) -> Tensor:
        """Return the t x t vectors of every video token [r, m, t t d] at the image tokens that it covers, [r, n, d]."""
        (rows, columns), t = self.grid, self.times
        cut = wide.unflatten(2, (t, t, -1)).unflatten(1, (rows, columns))
        return cut.permute(0, 1, 3, 2, 4, 5).flatten(1, 4)
