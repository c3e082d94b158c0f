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
    """Slots of a clip on which the time coordinates are based."""
    guidance: float | None
    """Weight of classifier-free guidance; None where none was recorded."""
    denoise_steps: int | None
    """Per autoregressive step; None where no frame was generated."""
    ddim_steps: int
    scaling_factor: float
    """Of the latents."""

    def real(self, name: str) -> Tensor:
        """Return a recorded input as fp32."""
        return self.tensors[name].float()

    def ids(self, name: str) -> Tensor:
        """Return a recorded integer input."""
        return self.tensors[name].long()

    def numbers(self, prefix: str) -> list[int]:
        """Return the numbers that follow a prefix in recorded names, e.g. 1, 5, 17 of vae.out.mean_T."""
        found = {
            int(match[1]) for name in self.tensors if (match := re.match(re.escape(prefix) + r"(\d+)$", name))
        }
        return sorted(found)
