# SPDX-License-Identifier: Apache-2.0
"""What a result was made with: versions, machine and git state; nothing that identifies a person or a host."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_DISTRIBUTIONS = (
    "torch",
    "numpy",
    "mani_skill",
    "sapien",
    "mujoco",
    "robosuite",
    "hf-libero",
    "ros-rclpy",
    "rosbags",
)


def describe_environment() -> dict[str, Any]:
    """Return versions, machine and git state of this run (nothing that identifies a person or a host)."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "machine": _machine(), "git": git_state()}


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "platform": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9, 1),
        "gpu": _gpu(),
    }


def _gpu() -> str | None:
    torch = sys.modules.get("torch")  # never imported only to describe the machine
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(0))


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this runs from, and whether it has changes; None where it is none."""
    folder = Path(__file__).resolve().parent

    def run(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return {"commit": run("rev-parse", "HEAD"), "dirty": bool(run("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
