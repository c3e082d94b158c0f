# SPDX-License-Identifier: Apache-2.0
"""All rows, and how one of them is run: prepare, inject, compare, restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from physgen_bringup.chaos.nodes import (
    rows_chunks,
    rows_episodes,
    rows_human,
    rows_messages,
    rows_operator,
    rows_policy,
    rows_resources,
    rows_states,
)
from physgen_bringup.chaos.nodes.rig import Rig, open_rig
from physgen_bringup.chaos.report import RowResult, beyond, judge
from physgen_bringup.chaos.row import DefectError, Measured, NotPossibleError, Row, RowFailedError

ROWS: tuple[Row, ...] = (
    *rows_policy.ROWS,
    *rows_chunks.ROWS,
    *rows_states.ROWS,
    *rows_operator.ROWS,
    *rows_human.ROWS,
    *rows_episodes.ROWS,
    *rows_messages.ROWS,
    *rows_resources.ROWS,
)


TRIES = 3
"""The fake arm moves in wall time: on a machine that is busy for a moment the controller rightly holds, and nothing was
shown. Such a repetition is made again; a defect fails every time. How often that was needed is in the results.
"""


def run_row(rig: Rig, row: Row, graph: str, repeat: int) -> RowResult:
    """Inject a hazard so many times; a repetition that fails TRIES times ends the row."""
    measured: list[Measured] = []
    again: list[str] = []
    for _ in range(row.repeats or repeat):
        failures: list[str] = []
        while len(failures) < TRIES:
            try:
                measured.append(_once(rig, row))
                break
            except NotPossibleError as error:
                return judge(row, graph, measured, str(error), possible=False)
            except DefectError as error:
                return judge(row, graph, measured, str(error), again=again + failures)
            except RowFailedError as error:
                failures.append(str(error))
        again += failures
        if len(failures) == TRIES:
            return judge(row, graph, measured, failures[-1], again=again)
    return judge(row, graph, measured, again=again)


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
