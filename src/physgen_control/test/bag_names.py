# SPDX-License-Identifier: Apache-2.0
"""Finds the bag that a recorder made of an episode; its name begins with the time."""

from __future__ import annotations

from pathlib import Path

from physgen_control.types import Episode


def bag_of(folder: Path, episode: Episode, suffix: str = "") -> Path:
    """The bag of an episode in a folder, or a path that does not exist; `.partial` finds an unfinished one."""
    found = sorted(folder.glob(f"????????-??????_{episode.task}_{episode.seed:06d}{suffix}"))
    assert len(found) <= 1, found
    return found[0] if found else folder / "no bag"
