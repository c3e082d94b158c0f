# SPDX-License-Identifier: Apache-2.0
"""Success against the delay between an observation and its chunk, in a world that does not wait.

The delay is counted in control steps of the world, so that a sweep says the same on every machine: chunks are computed
as fast as this machine can and handed over when their time has come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.results.results import Evaluation, summarize
from physgen_bringup.results.whole_file import write_atomically
from physgen_control.errors import UserError
from physgen_control.types import HORIZON

CONTROL_PERIOD_MS = 50
"""Every simulated world here runs at 20 Hz."""

MAX_DELAY_MS = 5000
EXECUTIONS = ("sync", "pipelined")


@dataclass(frozen=True, slots=True)
class DelayPoint:
    """One point of a sweep."""

    delay_ms: int
    """From an observation to its chunk."""
    execution: str
    """"sync" or "pipelined"."""
    evaluation: Evaluation


def parse_delays(text: str) -> list[int]:
    """Return `0,50,100,...,500` or `0,100,250` as sorted milliseconds; "..." continues the first step to the next.

    Raises:
        UserError: Not a list of whole numbers.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    delays: list[int] = []
    for index, word in enumerate(words):
        if word == "..." and len(delays) >= 2 and index + 1 < len(words) and words[index + 1].isdigit():
            step = delays[-1] - delays[-2]
            if step <= 0:
                raise UserError(f"--delays: the numbers before '...' must grow, got {text!r}")
            delays += range(delays[-1] + step, int(words[index + 1]), step)
        elif re.fullmatch(r"\d{1,4}", word) and int(word) <= MAX_DELAY_MS:
            delays.append(int(word))
        else:
            raise UserError(
                f"--delays must be milliseconds from 0 to {MAX_DELAY_MS}, such as 0,50,100 or 0,50,...,500, got "
                f"{text!r}"
            )
    return sorted(set(delays))


def delay_steps(delay_ms: int) -> int:
    """Return the control steps that a chunk is late; a part of a step costs the whole one."""
    return -(-delay_ms // CONTROL_PERIOD_MS)


def delayed(
    spec: EvaluationSpec, delay_ms: int, execution: str, out: Path, lead_steps: int = 0
) -> EvaluationSpec:
    """Return the same evaluation in a world that does not wait.

    lead_steps 0: pipelined execution asks as early as the delay is long, as far as a chunk reaches.
    """
    steps = delay_steps(delay_ms)
    lead = lead_steps or min(max(steps, 1), HORIZON - 1)
    return replace(
        spec,
        pace="realtime",
        execution=execution,
        delay_steps=steps,
        lead_steps=lead if execution == "pipelined" else 0,
        out=out,
    )


def sweep_specs(
    spec: EvaluationSpec, delays: Sequence[int], executions: Sequence[str], lead_steps: int = 0
) -> dict[tuple[str, int], EvaluationSpec]:
    """Return an evaluation for every execution and delay, each in its own folder of spec.out."""
    return {
        (execution, ms): delayed(spec, ms, execution, spec.out / f"{execution}_{ms:04d}ms", lead_steps)
        for execution in executions
        for ms in delays
    }


def sweep_json(points: Sequence[DelayPoint]) -> dict[str, Any]:
    """Return the sweep as plain values."""
    first = points[0].evaluation.protocol
    rows = []
    for point in points:
        summary = summarize(point.evaluation.episodes)
        protocol = point.evaluation.protocol
        rows.append(
            {
                "execution": point.execution,
                "delay_ms": point.delay_ms,
                "delay_steps": protocol.delay_steps,
                "lead_steps": protocol.lead_steps,
                **{key: summary[key] for key in ("n", "successes", "success_rate", "wilson_95", "crashes")},
                "stale_share": summary["stale_steps"] / max(1, summary["steps"]),
                "mean_steps": summary["steps"] / max(1, summary["n"]),
            }
        )
    return {
        "format": 1,
        "kind": "delay sweep",
        "suite": first.suite,
        "task": first.task,
        "policy": first.policy,
        "checkpoint": Path(first.checkpoint_path).name,
        "max_steps": first.max_steps,
        "control_period_ms": CONTROL_PERIOD_MS,
        "points": rows,
        **points[0].evaluation.environment,
    }


def sweep_markdown(values: dict[str, Any]) -> str:
    """Return the sweep as a table for people."""
    lines = [
        f"# {values['suite']} {values['task']}, policy {values['policy']} {values['checkpoint']}".rstrip(),
        "",
        "| execution | delay | success | rate | 95 % interval | steps without action | mean steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in values["points"]:
        low, high = row["wilson_95"]
        rate = f"{100 * row['success_rate']:.0f} %" if row["n"] else "-"
        lines.append(
            f"| {row['execution']} | {row['delay_ms']} ms | {row['successes']} of {row['n']} | {rate} | "
            f"{100 * low:.0f} to {100 * high:.0f} % | {100 * row['stale_share']:.0f} % | {row['mean_steps']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def plot_sweep(values: dict[str, Any], path: Path) -> Path:
    """Success and its interval against the delay, one line per execution; the format is the suffix of `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.8), dpi=120, layout="constrained")
    axis = figure.add_subplot()
    for index, execution in enumerate(dict.fromkeys(row["execution"] for row in values["points"])):
        rows = [r for r in values["points"] if r["execution"] == execution and r["n"]]
        delays = [r["delay_ms"] for r in rows]
        axis.plot(
            delays, [100 * r["success_rate"] for r in rows], marker="o", color=f"C{index}", label=execution
        )
        low, high = zip(*(r["wilson_95"] for r in rows), strict=True)
        axis.fill_between(
            delays,
            [100 * v for v in low],
            [100 * v for v in high],
            color=f"C{index}",
            alpha=0.15,
            linewidth=0,
        )
    counts = sorted({row["n"] for row in values["points"]})
    count = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    axis.set_xlabel("time from observation to chunk, simulated [ms]")
    axis.set_ylabel("success [%]")
    axis.set_ylim(-3, 103)
    axis.set_title(
        f"{values['task']}, {values['checkpoint'] or values['policy']}, {count} episodes per point, limit "
        f"{values['max_steps']} steps",
        fontsize=10,
    )
    axis.grid(alpha=0.3)
    axis.legend(title="execution")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)
    return path


def write_sweep(out: Path, points: Sequence[DelayPoint], plot: Path | None = None) -> str:
    """Write delays.json, delays.md and the plot (default: delays.png beside them); return the table."""
    values = sweep_json(points)
    table = sweep_markdown(values)
    write_atomically(out / "delays.json", json.dumps(values, indent=1, allow_nan=False) + "\n")
    write_atomically(out / "delays.md", table)
    plot_sweep(values, plot or out / "delays.png")
    return table
