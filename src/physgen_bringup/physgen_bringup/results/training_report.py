# SPDX-License-Identifier: Apache-2.0
"""The report of a training run: its curves, predicted pictures over true ones, data and configuration."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections import defaultdict
from pathlib import Path
from typing import Any

from physgen_bringup.results.html_page import (
    FILE_NAME,
    Media,
    MediaFile,
    Report,
    Row,
    Section,
    media_section,
    write_page,
)

SHOWN_SAMPLES = 4
CURVES = {
    "codec": ("reconstruction", "edges", "readout"),
    "policy": ("total", "action", "observation", "waypoint"),
    "frames": ("observation",),
    "validation": (),
}
"""Which numbers of a stage are drawn; of the others all."""


def write_training_report(run: Path) -> Path | None:
    """Write RUN/report.html from what the run left in its folder; None where it left no numbers."""
    metrics = run / "metrics.jsonl"
    if not metrics.is_file():
        return None
    stages = _read(metrics)
    sections = [_curves(stages)]
    samples = sorted((run / "samples").glob("step_*.png"))[-SHOWN_SAMPLES:]
    if samples:
        shown = [MediaFile(path, path.stem.replace("_", " ")) for path in samples]
        sections.append(media_section("Predicted pictures of a held-out episode, over the true ones", shown))
    sections.append(_last_numbers(stages))
    for name in ("run.json", "config.yaml"):
        if (run / name).is_file():
            text = (run / name).read_text(encoding="utf-8", errors="replace")
            sections.append(Section(title=name, code=text))
    steps = {stage: int(rows[-1]["step"]) for stage, rows in stages.items() if stage != "validation"}
    lead = ", ".join(f"{stage} stage: {count} steps" for stage, count in steps.items())
    return write_page(Report(f"Training run {run.name}", lead, tuple(sections)), run / FILE_NAME)


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Lines of every stage; one that a crash cut off is left out."""
    stages: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            stages[str(values["stage"])].append({**values, "step": int(values["step"])})
        except (ValueError, KeyError, TypeError):
            continue
    return dict(stages)


def _curves(stages: dict[str, list[dict[str, Any]]]) -> Section:
    media = []
    for stage, rows in stages.items():
        known = [key for key in rows[-1] if isinstance(rows[-1][key], int | float) and key != "step"]
        names = [name for name in CURVES.get(stage, ()) if name in known] or known
        media.append(Media(f"{stage} over steps", "image", _plot(stage, rows, names)))
    return Section(title="Curves", media=tuple(media))


def _plot(stage: str, rows: list[dict[str, Any]], names: list[str]) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    positive = True
    for name in names:
        points = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
        positive = positive and all(value > 0 for _, value in points)
        axes.plot([step for step, _ in points], [value for _, value in points], label=name)
    if positive and names:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_title(stage)
    axes.grid(alpha=0.3)
    if names:
        axes.legend(frameon=False, fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    return f"data:image/png;base64,{b64encode(picture.getvalue()).decode('ascii')}"


def _last_numbers(stages: dict[str, list[dict[str, Any]]]) -> Section:
    rows = [
        Row((stage, key, round(float(value), 6)))
        for stage, lines in stages.items()
        for key, value in lines[-1].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return Section(title="Last numbers", columns=("stage", "number", "value"), rows=tuple(rows))
