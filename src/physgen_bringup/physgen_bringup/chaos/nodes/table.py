# SPDX-License-Identifier: Apache-2.0
"""All rows, and how one of them is run: prepare, inject, compare, restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from physgen_bringup.chaos.nodes import (
    rows_arm,
    rows_chunks,
    rows_episodes,
    rows_human,
    rows_learned,
    rows_messages,
    rows_operator,
    rows_policy,
    rows_resources,
    rows_states,
)
from physgen_bringup.chaos.nodes.rig import Rig, open_rig
from physgen_bringup.chaos.report import RowResult, beyond, judge
from physgen_bringup.chaos.row import Measured, NotPossibleError, Row, RowFailedError

_ROWS = (
    *rows_policy.ROWS,
    *rows_chunks.ROWS,
    *rows_states.ROWS,
    *rows_arm.ROWS,
    *rows_operator.ROWS,
    *rows_human.ROWS,
    *rows_episodes.ROWS,
    *rows_messages.ROWS,
    *rows_resources.ROWS,
    *rows_learned.ROWS,
)
ROWS: tuple[Row, ...] = tuple(sorted(_ROWS, key=lambda row: row.number))


def run_row(rig: Rig, row: Row, graph: str, repeat: int) -> RowResult:
    """Inject a hazard so many times; the first repetition that fails ends the row."""
    measured: list[Measured] = []
    for _ in range(row.repeats or repeat):
        try:
            measured.append(_once(rig, row))
        except NotPossibleError as error:
            return judge(row, graph, measured, str(error), possible=False)
        except RowFailedError as error:
            return judge(row, graph, measured, str(error))
    return judge(row, graph, measured)


def _once(rig: Rig, row: Row) -> Measured:
    if row.prepared:
        rig.prepare()
    mark = rig.mark()
    try:
        measured = row.inject(rig)
    except RowFailedError:
        rig.check(mark, row.may_refuse)
        raise
    rig.check(mark, row.may_refuse)
    if sentences := beyond(row, [measured]):
        raise RowFailedError("; ".join(sentences))
    return measured


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
