# SPDX-License-Identifier: Apache-2.0
"""A golden recording as a value: tensors by name and the settings that their shapes do not show."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded tensors and the settings that are not visible in their shapes."""

    tensors: Tensors
    base_time: int
    guidance: float | None
    denoise_steps: int | None
    ddim_steps: int
    scaling_factor: float

    def real(self, name: str) -> Tensor:
        """A recorded input as fp32."""
        return self.tensors[name].float()

    def ids(self, name: str) -> Tensor:
        """A recorded integer input."""
        return self.tensors[name].long()

    def numbers(self, prefix: str) -> list[int]:
        """The numbers that follow a prefix in recorded names, e.g. 1, 5, 17 of vae.out.mean_T."""
        found = {
            int(match[1]) for name in self.tensors if (match := re.match(re.escape(prefix) + r"(\d+)$", name))
        }
        return sorted(found)
