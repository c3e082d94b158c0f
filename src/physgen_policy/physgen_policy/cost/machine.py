# SPDX-License-Identifier: Apache-2.0
"""What this machine can do at best: matrix products and copies, measured here and now."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MATMUL_INPUTS, MATMUL_OUTPUTS = 1024, 4096  # the widest product of a full-size block
COPY_BYTES = 256 * 2**20  # far more than any cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Rates measured on this machine."""

    rows: int
    """Of the matrix products."""
    matmul: dict[str, float]
    """FLOP/s by dtype name of F.linear on `rows` x 1024 by 1024 x 4096, median."""
    copy: float
    """Bytes read plus bytes written per second of a large copy, best of several."""


def calibrate(device: torch.device, rows: int = 2096, repeats: int = 7) -> Calibration:
    """Measure the rates; a second or two on a CPU."""
    return Calibration(
        rows=rows,
        matmul={name: matmul_rate(device, dtype, rows, repeats) for name, dtype in DTYPES.items()},
        copy=copy_rate(device, repeats),
    )


def matmul_rate(device: torch.device, dtype: torch.dtype, rows: int, repeats: int) -> float:
    """Return FLOP/s of F.linear, median over repeats after a warm-up."""
    # A generator of its own: a training run measures too, and must draw the same numbers as without.
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(rows, MATMUL_INPUTS, device=device, dtype=dtype, generator=generator)
    weight = torch.randn(MATMUL_OUTPUTS, MATMUL_INPUTS, device=device, dtype=dtype, generator=generator)
    seconds = time_calls(lambda: F.linear(x, weight), device, repeats, warm_up=2)
    return 2 * rows * MATMUL_INPUTS * MATMUL_OUTPUTS / statistics.median(seconds)


def copy_rate(device: torch.device, repeats: int) -> float:
    """Return the bytes moved per second by a copy, read and write both counted."""
    source = torch.zeros(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    seconds = time_calls(lambda: target.copy_(source), device, repeats, warm_up=1)
    return 2 * COPY_BYTES / min(seconds)


def time_calls(
    function: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 1
) -> list[float]:
    """Return the seconds of each of `repeats` calls, the device's queue emptied before and after every one."""
    seconds = []
    with torch.inference_mode():
        for index in range(warm_up + repeats):
            synchronize(device)
            begin = time.perf_counter()
            function()
            synchronize(device)
            if index >= warm_up:
                seconds.append(time.perf_counter() - begin)
    return seconds


def synchronize(device: torch.device) -> None:
    """Wait until everything that was launched has run."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return names and numbers that a measurement is worthless without."""
    facts: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu_flags": sorted(_cpu_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"}),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def peak_memory(device: torch.device) -> int:
    """Return the largest allocation on a GPU since the last reset, or on a CPU the largest resident set [bytes]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cpu_multiplies_bf16() -> bool:
    """Whether this processor has bf16 matrix instructions (measured 4-7 times faster than fp32 with them)."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_cpu_flags())


def _cpu_line(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cpu_name() -> str:
    return _cpu_line("model name") or platform.processor()


def _cpu_flags() -> set[str]:
    return set(_cpu_line("flags").split())
