# SPDX-License-Identifier: Apache-2.0
"""How fast a run goes, what share of the machine's arithmetic that is, and how much memory it took at most."""

from __future__ import annotations

import resource
import time

import torch

from physgen_policy.cost.peak import Peak


class Meter:
    """Counts finished steps since it was made; the first step, which warms caches up, is left out of the rates."""

    def __init__(self, device: torch.device, peak: Peak) -> None:
        self.device, self.peak = device, peak
        self.steps, self.flops, self.windows = 0, 0.0, 0.0
        self.began = time.monotonic()
        self.last: dict[str, float] = {}

    def tick(self, flops: float, windows: float) -> dict[str, float]:
        """Count a step that has finished.

        Args:
            flops: Its model FLOPs in this process (training/flops.py).
            windows: Its windows in all processes together.

        Returns:
            seconds_per_step and windows_per_s (all processes); tflop_per_s, mfu (share of the peak) and memory_gb
            (peak) of this process.
        """
        now = time.monotonic()
        self.steps += 1
        counted = max(1, self.steps - 1)
        # Until there is a second step, the first one is all there is to report.
        started = self.steps > 2
        self.flops = self.flops + flops if started else flops
        self.windows = self.windows + windows if started else windows
        seconds = (now - self.began) / counted
        if self.steps == 1:
            self.began = now
        rate = self.flops / counted / seconds
        self.last = {
            "seconds_per_step": seconds,
            "windows_per_s": self.windows / counted / seconds,
            "tflop_per_s": rate / 1e12,
            "mfu": rate / self.peak.flops_per_s,
            "memory_gb": self._peak_gb(),
        }
        return self.last

    def text(self) -> str:
        """Return the last figures for a person."""
        if not self.last:
            return ""
        return (
            f"{self.last['seconds_per_step']:.2f} s/step, {self.last['windows_per_s']:.2f} windows/s, "
            f"{self.last['tflop_per_s']:.3g} TFLOP/s (MFU {self.last['mfu']:.0%}), {self.last['memory_gb']:.1f} GB"
        )

    def _peak_gb(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
