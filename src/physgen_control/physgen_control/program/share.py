# SPDX-License-Identifier: Apache-2.0
"""Where the data files of an installed package lie: below the prefixes of ROS and of this Python."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path


def share_folders(package: str, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return where `share/PACKAGE` may lie, in search order; not every one exists.

    First the prefixes of a ROS workspace (AMENT_PREFIX_PATH), then what pip installed into: this Python's prefix, the
    user's, and the folder of `pip install --target`.
    """
    prefixes = [
        Path(prefix) for prefix in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix
    ]
    prefixes += [Path(sys.prefix), Path(site.getuserbase()), Path(__file__).resolve().parents[2]]
    return [prefix / "share" / package for prefix in prefixes]
