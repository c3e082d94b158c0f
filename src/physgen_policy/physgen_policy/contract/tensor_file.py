# SPDX-License-Identifier: Apache-2.0
"""Writes safetensors files with the mode that the umask says; safetensors itself lets only their owner read them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import numpy as of_arrays
from safetensors import torch as of_tensors


def save_file(tensors: Mapping[str, Any], path: Path, metadata: dict[str, str] | None = None) -> None:
    """As safetensors.torch.save_file, with the mode of any other new file."""
    of_tensors.save_file(dict(tensors), path, metadata=metadata)
    path.chmod(_mode())


def save_arrays(arrays: Mapping[str, Any], path: Path) -> None:
    """As safetensors.numpy.save_file, with the mode of any other new file."""
    of_arrays.save_file(dict(arrays), path)
    path.chmod(_mode())


def _mode() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    if found := re.search(r"^Umask:\s*([0-7]+)", status, re.MULTILINE):
        return 0o666 & ~int(found.group(1), 8)
    umask = os.umask(0o077)  # only by setting another one for a moment
    os.umask(umask)
    return 0o666 & ~umask
