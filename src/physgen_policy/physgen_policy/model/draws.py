# SPDX-License-Identifier: Apache-2.0
"""Random numbers of the training loss.

With one generator per window, what a window draws does not depend on the batch around it, so that a batch gives the
same loss on one process or cut over several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen_policy.model.embeddings import random_normal, random_timesteps


@dataclass(frozen=True, slots=True)
class WindowRandom:
    """Generators on the CPU."""

    windows: list[torch.Generator]
    """One per window of this batch."""
    shared: torch.Generator
    """One that every part of the whole batch has alike."""


Randomness = torch.Generator | WindowRandom


class RowDraws:
    """Draws for rows that belong to windows; every result is on `device` with one row each.

    Args:
        random: One generator for all, or one per window.
        window: int64 [rows], the window of each row.
        device: Where the results are.
    """

    def __init__(self, random: Randomness, window: Tensor, device: torch.device) -> None:
        self.random, self.device = random, device
        self.num_rows = len(window)
        self.window = window.tolist() if isinstance(random, WindowRandom) else []

    @property
    def shared(self) -> torch.Generator:
        """The generator of what all rows have in common."""
        return self.random.shared if isinstance(self.random, WindowRandom) else self.random

    def normal(self, *shape: int) -> Tensor:
        """Standard normal fp32 [rows, *shape]."""
        if isinstance(self.random, torch.Generator):
            return random_normal((self.num_rows, *shape), self.random, self.device)
        return self._each(shape, torch.float32, lambda g: torch.randn(shape, generator=g))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform fp32 in [0, 1) [rows, *shape]."""
        if isinstance(self.random, torch.Generator):
            drawn = torch.rand(self.num_rows, *shape, generator=self.random, device=self.random.device)
            return drawn.to(self.device)
        return self._each(shape, torch.float32, lambda g: torch.rand(shape, generator=g))

    def timesteps(self, steps: int, *shape: int) -> Tensor:
        """Integers 0 .. steps - 1 [rows, *shape]."""
        if isinstance(self.random, torch.Generator):
            return random_timesteps(steps, (self.num_rows, *shape), self.random, self.device)
        return self._each(shape, torch.int64, lambda g: torch.randint(steps, shape, generator=g))

    def repeated_normal(self, repeats: int, *shape: int) -> Tensor:
        """Standard normal fp32 [repeats x rows, *shape], the repeats outermost."""
        if isinstance(self.random, torch.Generator):
            return random_normal((repeats * self.num_rows, *shape), self.random, self.device)
        return self.normal(repeats, *shape).transpose(0, 1).flatten(0, 1)

    def repeated_timesteps(self, repeats: int, steps: int, *shape: int) -> Tensor:
        """Integers 0 .. steps - 1 [repeats x rows, *shape], the repeats outermost."""
        if isinstance(self.random, torch.Generator):
            return random_timesteps(steps, (repeats * self.num_rows, *shape), self.random, self.device)
        return self.timesteps(steps, repeats, *shape).transpose(0, 1).flatten(0, 1)

    def _each(
        self, shape: tuple[int, ...], dtype: torch.dtype, draw: Callable[[torch.Generator], Tensor]
    ) -> Tensor:
        assert isinstance(self.random, WindowRandom)
        out = torch.empty(self.num_rows, *shape, dtype=dtype)
        for row, window in zip(out, self.window, strict=True):
            row.copy_(draw(self.random.windows[window]))
        return out.to(self.device)
