# SPDX-License-Identifier: Apache-2.0
"""The page docs/chaos.md, written from the JSON of real runs: a row that never passed is shown as such."""

from __future__ import annotations

from typing import Any

from physgen_bringup.chaos.report import RowResult, from_json, pool, summary, times

_TITLES = {
    "fake": "The code path of the real arm (fake Franka)",
    "maniskill": "ManiSkill in real time",
    "learned": "A learned policy on ManiSkill, with cameras",
}
_HEAD = """# Hazards, injected

`./physgen chaos --graph fake` starts the graph, brings the arm to motion, injects one hazard after the other and
measures in steady time: how long until a message named the hazard, how long until every joint was at rest. A row passes
when every repetition stayed within its bounds, every process lives and none has printed a traceback. The rules behind
the rows are in [safety.md](safety.md).

Written by `./physgen chaos --page docs/chaos.md --from FILE...`; change no numbers by hand. Times are median / maximum
of the repetitions, in seconds since the injection; empty: the row demands none. On the fake Franka the controller has
the limits of the real arm (`controller_fr3.yaml`), without the patience that simulation gives it. No repetition is made
again: a row of several runs passed if every one of them did.
"""


def page(runs: list[dict[str, Any]]) -> str:
    """Return the page for the values of results files; the runs of a row are pooled."""
    found: dict[tuple[str, int], list[RowResult]] = {}
    for values in runs:
        for row in from_json(values):
            found.setdefault((row.graph, row.number), []).append(row)
    parts = [_HEAD]
    for graph, title in _TITLES.items():
        rows = [pool(same) for (where, _), same in sorted(found.items()) if where == graph]
        if rows:
            parts.append(f"## {title}\n\n{_table(runs, rows)}")
    return "\n".join(parts)


def _table(runs: list[dict[str, Any]], rows: list[RowResult]) -> str:
    machine = runs[-1].get("environment", {}).get("machine", {})
    where = f"{machine.get('cores', '?')} cores, {machine.get('memory_gb', '?')} GB"
    dates = sorted({str(values["date"]) for values in runs})
    lines = [
        f"Measured {' and '.join(dates)}, {where}, up to {max(row.repeats for row in rows)} repetitions of a row: "
        f"{summary(rows)}.\n",
        "| | hazard | detector | reaction | bound | detected | at rest | verdict |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _row(row: RowResult) -> str:
    bounds = [
        f"{what} {bound:g}"
        for what, bound in (("detected", row.detection_bound_s), ("rest", row.rest_bound_s))
        if bound is not None
    ]
    verdict = "passed" if row.verdict == "passed" else f"**{row.verdict}**: {row.failure}"
    cells = (
        str(row.number),
        row.hazard,
        row.detector,
        row.reaction,
        ", ".join(bounds),
        times(row.detections_s),
        times(row.rests_s),
        verdict,
    )
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
