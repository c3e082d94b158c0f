# SPDX-License-Identifier: Apache-2.0
"""How fast a run goes and how much memory it took at most."""

from __future__ import annotations

import resource
import time

import torch


class Meter:
    """Counts finished steps since it was made; the first step, which warms caches up, is left out of the rate."""

    def __init__(self, windows_per_step: int, device: torch.device) -> None:
        self.windows_per_step, self.device = windows_per_step, device
        self.steps = 0
        self.began = time.monotonic()
        self.last: dict[str, float] = {}

    def tick(self) -> dict[str, float]:
        """Call after every step: seconds_per_step, windows_per_s (all processes), memory_gb (peak, this process)."""
        now = time.monotonic()
        self.steps += 1
        counted = max(1, self.steps - 1)
        seconds = (now - self.began) / counted
        if self.steps == 1:
            self.began = now
        self.last = {
            "seconds_per_step": seconds,
            "windows_per_s": self.windows_per_step / seconds,
            "memory_gb": self._peak_gb(),
        }
        return self.last

    def text(self) -> str:
        """The last figures for a person."""
        if not self.last:
            return ""
        return (
            f"{self.last['seconds_per_step']:.2f} s/step, {self.last['windows_per_s']:.2f} windows/s, "
            f"{self.last['memory_gb']:.1f} GB"
        )

    def _peak_gb(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
