# SPDX-License-Identifier: Apache-2.0
"""The arithmetic rate that model-FLOPs utilisation is a share of: published for known GPUs, else measured here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from physgen_policy.cost.machine import matmul_rate

PUBLISHED_BFLOAT16 = {
    "H200": 989e12,
    "H100 80GB HBM3": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
}
"""Part of a GPU's name -> FLOP/s of dense bfloat16 matrix products with float32 sums, from the makers' data sheets."""

ROWS, REPEATS = 512, 3  # of the product that is measured: a fraction of a second on a CPU


@dataclass(frozen=True, slots=True)
class Peak:
    """A device's arithmetic rate."""

    flops_per_s: float
    source: str
    """Where the number comes from."""


def published_peak(name: str) -> float | None:
    """Return FLOP/s in bfloat16 of the GPU with this name; None if it is not in the table."""
    padded = f" {name} "
    found = [part for part in PUBLISHED_BFLOAT16 if f" {part} " in padded.replace("-", " ")]
    return PUBLISHED_BFLOAT16[max(found, key=len)] if found else None


def device_peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """Return what the device multiplies at best in a type.

    A GPU's published rate holds for bfloat16 only. Measured is the median rate of F.linear, with the threads that torch
    has now and whatever else the machine is doing.
    """
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        if (rate := published_peak(name)) is not None:
            return Peak(rate, f"published peak of {name}")
    kind = str(dtype).removeprefix("torch.")
    return Peak(matmul_rate(device, dtype, ROWS, REPEATS), f"{kind} matrix products measured here")
