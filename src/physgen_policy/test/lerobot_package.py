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

from physgen_control.errors import UserError
from physgen_policy.peer.environment import lerobot_environment


def load_with_lerobot(dataset: Path, rows: list[int]) -> dict[str, Any]:
    """What lerobot_load.py found; the test is skipped where there is no such package."""
    try:
        environment = lerobot_environment(os.environ)
    except UserError as error:
        pytest.skip(str(error))
    environment["HF_DATASETS_CACHE"] = str(dataset.parent / "cache")
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
