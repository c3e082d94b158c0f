# SPDX-License-Identifier: Apache-2.0
"""Success under perturbations, each beside the clean episodes of the same seeds: what runs, and the table of it.

Every episode is paired with the clean one of its trial, so that a start which is hard anyway says nothing about a
perturbation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.results.comparison import PairedCounts, difference_interval, mcnemar_p, pair
from physgen_bringup.results.results import (
    FILE_NAME,
    EpisodeResult,
    Evaluation,
    summarize,
)
from physgen_bringup.results.whole_file import write_atomically
from physgen_sim_bridge.perturbation.condition import CLEAN, CONTROLS, Condition
from physgen_sim_bridge.perturbation.frozen_list import SHA256
from physgen_sim_bridge.perturbation.variant import CATEGORIES

NAME = "LIBERO-plus-style, own assets; not comparable with the 10,030-task leaderboard"


@dataclass(frozen=True, slots=True)
class Cell:
    """One task under one condition."""

    task: str
    condition: Condition
    evaluation: Evaluation


def perturbed_specs(
    specs: Sequence[EvaluationSpec], conditions: Sequence[Condition]
) -> list[tuple[Condition, EvaluationSpec]]:
    """An evaluation for every task and condition, in a folder of its task's; task by task, so that worlds are kept."""
    return [
        (condition, replace(spec, perturbation=str(condition), out=spec.out / condition.folder))
        for spec in specs
        for condition in conditions
    ]


def table_json(cells: Sequence[Cell], out: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """Every cell as plain values, and every condition over all tasks; successes and episodes are counts.

    Args:
        cells: the clean cell of a task comes before its others.
        out: the folder of the whole.
        folders: where each cell's own results are.
    """
    clean = {cell.task: cell.evaluation for cell in cells if cell.condition == CLEAN}
    rows = []
    pairs: dict[Condition, PairedCounts] = {}
    episodes: dict[Condition, list[EpisodeResult]] = {}
    for cell, folder in zip(cells, folders, strict=True):
        episodes.setdefault(cell.condition, []).extend(cell.evaluation.episodes)
        row: dict[str, Any] = {"task": cell.task, "folder": str(folder.relative_to(out))}
        row |= _counts(cell.condition, cell.evaluation.episodes)
        if cell.condition != CLEAN and row["n"] and summarize(clean[cell.task].episodes)["n"]:
            counts, _ = pair(clean[cell.task], cell.evaluation)
            pairs[cell.condition] = pairs.get(cell.condition, _NOTHING) + counts
            row["paired"] = _paired(counts)
        rows.append(row)
    total = [
        _counts(condition, runs) | ({"paired": _paired(pairs[condition])} if condition in pairs else {})
        for condition, runs in episodes.items()
    ]
    first = cells[0].evaluation.protocol
    return {
        "format": 1,
        "kind": "robustness",
        "name": NAME,
        "perturbation_list": SHA256,
        "suite": first.suite,
        "policy": first.policy,
        "checkpoint": Path(first.checkpoint_path).name,
        "transport": first.transport,
        "rows": rows,
        "conditions": total,
        "categories": _by_category(total),
        **cells[0].evaluation.environment,
    }


_NOTHING = PairedCounts(both=0, only_a=0, only_b=0, neither=0)


def _counts(condition: Condition, runs: Sequence[EpisodeResult]) -> dict[str, Any]:
    summary = summarize(runs)
    numbers = {key: summary[key] for key in ("successes", "n", "success_rate", "wilson_95", "crashes")}
    return {"category": condition.category or "clean", "level": condition.level, **numbers}


def _paired(counts: PairedCounts) -> dict[str, Any]:
    low, high = difference_interval(counts)
    return {
        "n": counts.n,
        "clean_successes": counts.both + counts.only_a,
        "successes": counts.both + counts.only_b,
        "lost": counts.only_a,
        "gained": counts.only_b,
        "difference": counts.difference,
        "difference_95": [low, high],
        "mcnemar_exact_p": mcnemar_p(counts.only_a, counts.only_b),
    }


def _by_category(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Successes and episodes of each category over all levels that ran."""
    return {
        name: {key: sum(row[key] for row in rows if row["category"] == name) for key in ("successes", "n")}
        for name in ("clean", *CATEGORIES, *CONTROLS)
        if any(row["category"] == name for row in rows)
    }


def table_markdown(values: dict[str, Any]) -> str:
    """The table for people."""
    who = f"policy {values['policy']} {values['checkpoint']}".strip()
    lines = [
        f"# Robustness: {values['suite']}, {who}, {values['transport']}",
        "",
        f"{values['name']}. List of variants {values['perturbation_list'][:12]}.",
        "",
        "| task | perturbation | level | success | rate | 95 % interval | against clean (95 %) | lost / gained | "
        "exact McNemar p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    tasks = dict.fromkeys(row["task"] for row in values["rows"])
    rows = list(values["rows"])
    if len(tasks) > 1:
        rows += [{"task": "**all**", **row} for row in values["conditions"]]
    for row in rows:
        low, high = row["wilson_95"]
        rate = f"{100 * row['success_rate']:.1f} %" if row["n"] else "-"
        cells = [
            row["task"],
            row["category"].replace("_", " "),
            str(row["level"] or ""),
            f"{row['successes']} of {row['n']}" + (f", {row['crashes']} crashed" if row["crashes"] else ""),
            rate,
            f"{100 * low:.1f} to {100 * high:.1f} %",
        ]
        if paired := row.get("paired"):
            low, high = paired["difference_95"]
            cells += [
                f"{100 * paired['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) points",
                f"{paired['lost']} / {paired['gained']}",
                f"{paired['mcnemar_exact_p']:.3g}",
            ]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_table(out: Path, cells: Sequence[Cell], folders: Sequence[Path]) -> str:
    """Write results.json and results.md of the whole into `out`; returns the table."""
    values = table_json(cells, out, folders)
    table = table_markdown(values)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FILE_NAME, json.dumps(values, indent=1, allow_nan=False) + "\n")
    write_atomically(out / "results.md", table)
    return table
