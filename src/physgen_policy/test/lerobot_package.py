# SPDX-License-Identifier: Apache-2.0
"""Asks the lerobot package what a dataset holds; it may live in a folder of its own, away from our environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def load_with_lerobot(dataset: Path, rows: list[int]) -> dict[str, Any]:
    """What lerobot_load.py found; the test is skipped where there is no such package."""
    path = [p for p in (os.environ.get("PHYSGEN_LEROBOT_PATH", ""), os.environ.get("PYTHONPATH", "")) if p]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(dataset.parent / "cache"),
    }
    probe = [
        sys.executable,
        "-c",
        "import importlib.util as u, sys; sys.exit(u.find_spec('lerobot') is None)",
    ]
    if subprocess.run(probe, env=environment, check=False).returncode:
        pytest.skip("the lerobot package is not installed; PHYSGEN_LEROBOT_PATH names a folder that has it")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("lerobot_load.py"), dataset, *map(str, rows)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
