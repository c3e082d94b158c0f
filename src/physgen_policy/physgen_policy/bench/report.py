# SPDX-License-Identifier: Apache-2.0
"""A benchmark for people: tables on the terminal and a picture of where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from physgen_policy.bench.stages import PHASES

STAGE_COLOURS = {
    "preprocess": "#4c566a",
    "vae": "#b04a2f",
    "transformer": "#2f5d8a",
    "denoise": "#3d7a44",
    "chunk": "#8a6d2f",
}
PHASE_NAMES = {"first": "first pack", "incremental": "next pack", "full": "full window"}
FLOOR_COLOUR = "#1a1a1a"


def print_tables(result: dict[str, Any], console: Console) -> None:
    """Stages of every variant, the encoder's efficiencies, frames, and what they were measured on."""
    machine, calibration = result["machine"], result["calibration"]
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in calibration["matmul"].items())
    console.print(
        f"{result['subject']} in {result['spec']['dtype']} on {machine.get('gpu', machine['cpu'])}, "
        f"{machine['threads']} threads; load average {machine['load_average']} at the beginning, "
        f"{machine['load_average_after']} at the end"
    )
    console.print(f"matrix product: {rates}; copy {calibration['copy'] / 1e9:.1f} GB/s")
    console.print(_stage_table(result))
    for name, variant in result["variants"].items():
        weights, cache = variant["weights_bytes"] / 1e6, variant["cache_bytes"] / 1e6
        console.print(f"{name}: weights {weights:,.0f} MB, cache {cache:,.1f} MB")
    console.print(f"peak memory of the run, all variants loaded: {result['peak_memory_bytes'] / 1e6:,.0f} MB")
    if result["encoder"]:
        console.print(_encoder_table(result))
    if result["frames"]:
        console.print(_frame_table(result))


def _stage_table(result: dict[str, Any]) -> Table:
    variants = result["variants"]
    table = Table(title="from observation to chunk, ms", title_justify="left")
    table.add_column("stage")
    for name in variants:
        for header in (f"{name} p50", "p95", "p99"):
            table.add_column(header, justify="right")
    for header in ("speed-up", "GFLOP", "MB", "floor", "over floor"):
        table.add_column(header, justify="right")
    fast = variants["optimised"]["rows"]
    for row, values in fast.items():
        cells = [row]
        for variant in variants.values():
            cells += [_number(variant["rows"][row][key]) for key in ("p50_ms", "p95_ms", "p99_ms")]
        cells.append(f"{variants['eager']['rows'][row]['p50_ms'] / values['p50_ms']:.2f}")
        if "floor_ms" in values:
            cells += [
                _number(values["flops"] / 1e9),
                _number(values["bytes"] / 1e6),
                _number(values["floor_ms"]),
                f"{values['over_floor']:.1f}",
            ]
        table.add_row(*cells, end_section=row in ("instruction", "chunk"))
    return table


def _encoder_table(result: dict[str, Any]) -> Table:
    ratios = ", ".join(f"{name} {ratio:.1%}" for name, ratio in result["incremental_over_full"].items())
    table = Table(title=f"video encoder alone; new pack over full window: {ratios}", title_justify="left")
    table.add_column("case")
    for header in ("dtype", "new", "cached", "s", "GFLOP/s of F.linear", "efficiency"):
        table.add_column(header, justify="right")
    for case in result["encoder"]:
        table.add_row(
            case["case"],
            case["dtype"],
            str(case["new"]),
            str(case["cached"]),
            f"{case['seconds']:.3f}",
            f"{case['matmul_rate'] / 1e9:,.0f}",
            f"{case['efficiency']:.2f}",
        )
    return table


def _frame_table(result: dict[str, Any]) -> Table:
    table = Table(title="imagined frames, never on the way to actions", title_justify="left")
    table.add_column("mode")
    for header in ("steps", "s per frame", ""):
        table.add_column(header, justify="right")
    for frame in result["frames"]:
        how = "measured" if frame["measured"] else "estimated from 3 of its steps"
        table.add_row(
            frame["mode"],
            f"{frame['ar_steps']} x {frame['denoise_steps']}",
            _number(frame["seconds"]),
            how,
        )
    return table


def verdict(result: dict[str, Any], chunk_s: float) -> str:
    """What the tables mean, in one sentence: is a chunk there before the one before it has been executed?

    Args:
        result: The benchmark's values, as written to JSON.
        chunk_s: how long the arm executes a chunk [s].
    """
    totals = {phase: result["variants"]["optimised"]["rows"][f"total {phase}"] for phase in PHASES}
    eager = result["variants"]["eager"]["rows"]
    slowest = max(PHASES, key=lambda phase: totals[phase]["p95_ms"])
    late_ms, chunk_ms = totals[slowest]["p95_ms"], 1e3 * chunk_s
    speed_up = eager[f"total {slowest}"]["p50_ms"] / totals[slowest]["p50_ms"]
    fits = (
        f"{late_ms / chunk_ms:.0%} of the {chunk_ms:.0f} ms that its chunk is executed: fast enough"
        if late_ms <= chunk_ms
        else f"longer than the {chunk_ms:.0f} ms that a chunk is executed: the arm would wait in real time"
    )
    return (
        f"{result['subject']} answers an observation in {_number(totals[slowest]['p50_ms'])} ms (95 % of the time "
        f"within {_number(late_ms)} ms, {PHASE_NAMES[slowest]}; {speed_up:.1f} times as fast as eager), {fits}."
    )


def print_quality(rows: list[dict[str, Any]], console: Console) -> None:
    """Samplers against 100 steps and against the demonstrations."""
    table = Table(
        title="samplers on frames of the dataset, distance of one translation, mm", title_justify="left"
    )
    table.add_column("sampler")
    for header in (
        "steps",
        "samples",
        "from 100 DDIM steps",
        "mean from DDPM-100's",
        "from the demonstration",
        "median",
    ):
        table.add_column(header, justify="right")
    measures = ("from_reference", "mean_from_published", "from_demonstration", "median_from_demonstration")
    for row in rows:
        cells = ["" if row[name] is None else f"{row[name] * 1e3:.3f}" for name in measures]
        table.add_row(row["sampler"], str(row["steps"]), str(row["samples"]), *cells)
    console.print(table)


def _number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"


def draw(result: dict[str, Any], path: Path) -> None:
    """A PNG: stacked medians of every variant and phase, with the floor as a mark."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    variants, machine = result["variants"], result["machine"]
    bars = [(phase, name) for phase in PHASES for name in variants]
    figure = Figure(figsize=(9.0, 1.8 + 0.42 * len(bars)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (phase, name) in enumerate(bars):
        rows, left = variants[name]["rows"], 0.0
        for stage, colour in STAGE_COLOURS.items():
            row = f"transformer {phase}" if stage == "transformer" else stage
            width = rows[row]["p50_ms"]
            axes.barh(index, width, left=left, color=colour, label=stage if index == 0 else None)
            left += width
        total = rows[f"total {phase}"]
        axes.plot(
            [total["floor_ms"]] * 2, [index - 0.4, index + 0.4], color=FLOOR_COLOUR, linewidth=2,
            label="analytic floor" if index == 0 else None,
        )  # fmt: skip
        axes.text(left, index, f" {_number(total['p50_ms'])} ms", va="center", color=FLOOR_COLOUR)
    axes.set_yticks(range(len(bars)), [f"{PHASE_NAMES[phase]}, {name}" for phase, name in bars])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("median time from observation to chunk [ms]")
    axes.set_title(
        f"{result['subject']}, {result['spec']['dtype']}, {machine.get('gpu', machine['cpu'])}, "
        f"{machine['threads']} threads"
    )
    figure.legend(loc="outside lower center", ncols=len(STAGE_COLOURS) + 1, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
