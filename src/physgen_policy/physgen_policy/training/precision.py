# SPDX-License-Identifier: Apache-2.0
"""Chooses device, threads and number format of a run once, from what the machine can do."""

from __future__ import annotations

from typing import Literal

import torch

from physgen_policy.cost.machine import cpu_multiplies_bf16


def choose_device(requested: str) -> torch.device:
    """Return the requested device; "auto" is the first CUDA device if there is one, else the CPU."""
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(requested)


def choose_precision(
    requested: Literal["auto", "fp32", "bf16"], device: torch.device
) -> Literal["no", "bf16"]:
    """accelerate's name of the mixed-precision mode; bf16 only where it is fast (GPU, AMX or AVX512-BF16)."""
    if requested == "auto":
        return "bf16" if device.type == "cuda" or cpu_multiplies_bf16() else "no"
    return "bf16" if requested == "bf16" else "no"
