# SPDX-License-Identifier: Apache-2.0
"""What the repetitions of the rows gave: verdict, lines for the terminal, JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from physgen_bringup.chaos.row import Measured, Row

FORMAT = 1
Verdict = Literal["passed", "failed", "not possible here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """All repetitions of one row on one graph."""

    number: int
    name: str
    graph: str
    hazard: str
    detector: str
    reaction: str
    detection_bound_s: float | None
    rest_bound_s: float | None
    detections_s: list[float] = field(default_factory=list)
    """Of each repetition that measured it."""
    rests_s: list[float] = field(default_factory=list)
    """Of each repetition that measured it."""
    repeats: int = 0
    verdict: Verdict = "failed"
    failure: str = ""
    """What went wrong, or why the row is not possible here."""
    notes: list[str] = field(default_factory=list)
    """Sentences for people."""


def judge(
    row: Row,
    graph: str,
    measured: list[Measured],
    failure: str = "",
    *,
    possible: bool = True,
) -> RowResult:
    """Compare what was measured with the bounds of the row; a bound without a measurement is a failure."""
    sentences = [failure] if failure else beyond(row, measured)
    if not failure and not measured:
        sentences.append("it was not run")
    verdict: Verdict = "failed" if sentences else "passed"
    return RowResult(
        number=row.number,
        name=row.name,
        graph=graph,
        hazard=row.hazard,
        detector=row.detector,
        reaction=row.reaction,
        detection_bound_s=row.detection_s,
        rest_bound_s=row.rest_s,
        detections_s=[round(one.detection_s, 3) for one in measured if one.detection_s is not None],
        rests_s=[round(one.rest_s, 3) for one in measured if one.rest_s is not None],
        repeats=len(measured),
        verdict=verdict if possible else "not possible here",
        failure="; ".join(sentences),
        notes=sorted({one.note for one in measured if one.note}),
    )


def pool(results: Sequence[RowResult]) -> RowResult:
    """Put the runs of one row together; it passed if every run did."""
    worst = max(results, key=lambda result: ("passed", "not possible here", "failed").index(result.verdict))
    return replace(
        worst,
        detections_s=[value for result in results for value in result.detections_s],
        rests_s=[value for result in results for value in result.rests_s],
        repeats=sum(result.repeats for result in results),
        notes=sorted({note for result in results for note in result.notes}),
    )


def beyond(row: Row, measured: list[Measured]) -> list[str]:
    """Return a sentence for every bound of the row that was not kept."""
    return [
        *_beyond("detection", row.detection_s, [one.detection_s for one in measured]),
        *_beyond("rest", row.rest_s, [one.rest_s for one in measured]),
    ]


def _beyond(what: str, bound: float | None, values: list[float | None]) -> list[str]:
    if bound is None:
        return []
    if any(value is None for value in values):
        return [f"no {what} was measured"]
    worst = max((value for value in values if value is not None), default=0.0)
    return [f"{what} took {worst:.3f} s, allowed are {bound:g} s"] if worst > bound else []


def times(values: list[float]) -> str:
    """Return median and maximum, as `0.12 / 0.15`; empty without a measurement."""
    return f"{statistics.median(values):.2f} / {max(values):.2f}" if values else ""


def line(result: RowResult) -> str:
    """Return one row of the progress on the terminal."""
    parts = [f"{result.number:>3} {result.name:<30} {result.verdict}"]
    if result.detections_s:
        parts.append(f"detected {times(result.detections_s)} s")
    if result.rests_s:
        parts.append(f"at rest {times(result.rests_s)} s")
    if result.failure:
        parts.append(result.failure)
    return "  ".join(parts)


def summary(results: list[RowResult]) -> str:
    """Return how many passed, failed and were not possible."""
    counts = {name: sum(result.verdict == name for result in results) for name in ("passed", "failed")}
    absent = len(results) - sum(counts.values())
    text = f"{counts['passed']} of {len(results)} rows passed, {counts['failed']} failed"
    return text + (f", {absent} not possible here" if absent else "")


def to_json(results: list[RowResult], environment: dict[str, Any], date: str) -> dict[str, Any]:
    """Return the values of a results file."""
    return {
        "format": FORMAT,
        "date": date,
        "environment": environment,
        "rows": [asdict(result) for result in results],
    }


def from_json(values: dict[str, Any]) -> list[RowResult]:
    """Return the rows of a results file.

    Raises:
        ValueError: Another format, or missing keys.
    """
    try:
        if values["format"] != FORMAT:
            raise ValueError(f"the results have the format {values['format']!r}, expected is {FORMAT}")
        return [RowResult(**row) for row in values["rows"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"these are no results of `physgen chaos`: {error}") from error
