# SPDX-License-Identifier: Apache-2.0
"""The results of several tasks in one file and one table; each task keeps its own results beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from physgen_bringup.results.results import (
    FILE_NAME,
    FORMAT,
    Evaluation,
    percentiles,
    summarize,
)
from physgen_bringup.results.whole_file import write_atomically


def task_folder(out: Path, task: str, num_tasks: int) -> Path:
    """Return where the results of a task lie: OUT itself when it is the only one."""
    return out if num_tasks == 1 else out / task.replace("/", "_")


def suite_json(evaluations: Sequence[Evaluation], folders: Sequence[str]) -> dict[str, Any]:
    """Return all tasks as plain values: each one's summary and folder, the whole, and the mean over tasks."""
    episodes = [episode for evaluation in evaluations for episode in evaluation.episodes]
    rows = [
        {"task": e.protocol.task, "folder": folder, **summarize(e.episodes)}
        for e, folder in zip(evaluations, folders, strict=True)
    ]
    rates = [row["success_rate"] for row in rows if row["success_rate"] is not None]
    first = evaluations[0].protocol
    total = summarize(episodes)
    for key in ("failed_seeds", "crashed_seeds"):
        total.pop(key)  # a seed without its task says nothing
    return {
        "format": FORMAT,
        "kind": "suite",
        "suite": first.suite,
        "policy": first.policy,
        "pace": first.pace,
        "execution": first.execution,
        "preset": first.preset,
        "tasks": rows,
        "summary": total,
        "mean_task_success_rate": sum(rates) / len(rates) if rates else None,
        "latency_ms": {
            name: percentiles([v for e in evaluations for v in e.latencies.samples()[name]])
            for name in evaluations[0].latencies.samples()
        },
        **evaluations[0].environment,
    }


def suite_markdown(values: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        f"# {values['suite']}, policy {values['policy']}"
        + (f", protocol {values['preset']}" if values["preset"] else ""),
        "",
        "| task | success | rate | 95 % interval | crashes | stale steps |",
        "|---|---|---|---|---|---|",
    ]
    for row in [*values["tasks"], {"task": "**all**", **values["summary"]}]:
        low, high = row["wilson_95"]
        rate = f"{100 * row['success_rate']:.1f} %" if row["n"] else "-"
        lines.append(
            f"| {row['task']} | {row['successes']} of {row['n']} | {rate} | {100 * low:.1f} to {100 * high:.1f} % | "
            f"{row['crashes']} | {row['stale_steps']} of {row['steps']} |"
        )
    mean = values["mean_task_success_rate"]
    if mean is not None:
        lines += ["", f"Mean over tasks: {100 * mean:.1f} %."]
    for name, numbers in values["latency_ms"].items():
        if numbers["count"]:
            lines += ["", f"{name.replace('_', ' ')}: p50 {numbers['p50']:.1f} ms, p95 {numbers['p95']:.1f} ms, "
                          f"p99 {numbers['p99']:.1f} ms."]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_suite(out: Path, evaluations: Sequence[Evaluation], folders: Sequence[Path]) -> str:
    """Write results.json and results.md of several tasks into `out`; return the table."""
    values = suite_json(evaluations, [str(folder.relative_to(out)) for folder in folders])
    table = suite_markdown(values)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FILE_NAME, json.dumps(values, indent=1, allow_nan=False) + "\n")
    write_atomically(out / "results.md", table)
    return table
