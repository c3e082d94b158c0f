# SPDX-License-Identifier: Apache-2.0
"""What is in a file of the viewer: how many rows each entity has, and the values of one of its columns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any


def rows(path: Path) -> Counter[str]:
    """Rows by entity, static ones too; rows of a recording's properties are left out."""
    from rerun.chunk import RrdReader

    found: Counter[str] = Counter()
    for chunk in RrdReader(str(path)).stream():
        if not chunk.entity_path.startswith("/__"):
            found[chunk.entity_path.removeprefix("/")] += chunk.num_rows
    return found


def values(path: Path, entity: str, column: str) -> list[Any]:
    """The values of a column of an entity, in the order in which they were drawn."""
    from rerun.chunk import RrdReader

    found: list[Any] = []
    for chunk in RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        if chunk.entity_path == f"/{entity}" and column in batch.schema.names:
            found += batch.column(column).to_pylist()
    return found
