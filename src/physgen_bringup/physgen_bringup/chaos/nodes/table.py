# SPDX-License-Identifier: Apache-2.0
"""All rows, and how one of them is run: prepare, inject, compare, restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from physgen_bringup.chaos.nodes import rows_chunks, rows_policy
from physgen_bringup.chaos.nodes.rig import Rig, open_rig
from physgen_bringup.chaos.report import RowResult, judge
from physgen_bringup.chaos.row import Measured, NotPossibleError, Row, RowFailedError

ROWS: tuple[Row, ...] = (*rows_policy.ROWS, *rows_chunks.ROWS)


def run_row(rig: Rig, row: Row, graph: str, repeat: int) -> RowResult:
    """Inject a hazard so many times; the first failure ends the row."""
    measured: list[Measured] = []
    failure = ""
    for _ in range(row.repeats or repeat):
        try:
            if row.prepared:
                rig.prepare()
            mark = rig.mark()
            measured.append(row.inject(rig))
            rig.check(mark)
        except NotPossibleError as error:
            return judge(row, graph, measured, str(error), possible=False)
        except RowFailedError as error:
            failure = str(error)
            break
    return judge(row, graph, measured, failure)


def run_rows(
    graph: str, rows: list[Row], *, folder: Path, repeat: int, progress: Callable[[RowResult], None]
) -> list[RowResult]:
    """Run rows on one graph, in order; `progress` hears each result at once."""
    results = []
    with open_rig(graph, folder) as rig:
        for row in rows:
            result = run_row(rig, row, graph, repeat)
            progress(result)
            results.append(result)
    return results
