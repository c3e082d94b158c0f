# SPDX-License-Identifier: Apache-2.0
"""The video benchmark as tables, as a picture to look at and as curves over the horizon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from physgen_control.types import UInt8Image
from physgen_policy.bench.video import Examples

COLUMNS = {"psnr": "PSNR [dB]", "psnr_moving": "moving [dB]", "psnr_fixed": "fixed", "psnr_wrist": "wrist"}


def print_tables(result: dict[str, Any], console: Console) -> None:
    """Next frames and roll-outs, one row each."""
    things = list(result["next_frame"]["copy"]["track_px"])
    table = _table(f"next frame, {result['episodes']} episodes, {result['checkpoint']}", "picture", things)
    table.add_column("s per frame", justify="right")
    rows = [(f"predicted, {row['sampler']}", row["next_frame"], row) for row in result["samplers"]]
    rows += [(name, result["next_frame"][name], {}) for name in ("codec", "copy")]
    for name, scores, row in rows:
        seconds = f"{row['seconds_per_frame']:.3f}" if row else ""
        table.add_row(name, *_cells(scores, things), seconds)
    console.print(table)
    table = _table("open loop from one picture", "frames ahead", things)
    for row in result["samplers"]:
        for key, actions in (("rollout", "executed actions"), ("rollout_own_actions", "own actions")):
            for ahead, scores in enumerate(row.get(key, []), start=1):
                table.add_row(f"{ahead}, {row['sampler']}, {actions}", *_cells(scores, things))
    for ahead, scores in enumerate(result["rollout_still"], start=1):
        table.add_row(f"{ahead}, nothing moves", *_cells(scores, things))
    console.print(table)


def _table(title: str, first: str, things: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in (*COLUMNS.values(), "SSIM", "frames", *(f"{name} [px]" for name in things)):
        table.add_column(name, justify="right")
    return table


def _cells(scores: dict[str, Any], things: list[str]) -> list[str]:
    numbers = [f"{scores[key]:.1f}" if key in scores else "" for key in COLUMNS]
    tracks = []
    for thing in things:
        found = scores["track_px"].get(thing)
        if found is None or found["mean"] is None:
            tracks.append("never seen" if found else "")
            continue
        lost = f", lost in {found['not_found']}" if found["not_found"] else ""
        tracks.append(f"{found['median']:.1f}, {found['mean']:.1f}{lost}")
    return [*numbers, f"{scores['ssim']:.3f}", str(scores["frames"]), *tracks]


def draw_examples(examples: Examples, path: Path) -> None:
    """Next frames as columns of (true, codec, predicted); below them roll-outs, true frames above imagined ones."""
    columns = [np.concatenate(list(column)) for column in examples.next_frame]
    parts = [np.concatenate(columns, axis=1)]
    for true, imagined in examples.rollout:
        parts += [np.concatenate(true, axis=1), np.concatenate(imagined, axis=1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, np.concatenate([_padded(part, max(p.shape[1] for p in parts)) for part in parts]))


def _padded(image: UInt8Image, width: int) -> UInt8Image:
    white = np.full((image.shape[0], width - image.shape[1], 3), 255, np.uint8)
    return np.concatenate([image, white], axis=1)


def draw_horizon(result: dict[str, Any], path: Path) -> None:
    """PSNR and track errors over the frames ahead, a line per sampler."""
    things = list(result["next_frame"]["copy"]["track_px"])
    figure = Figure(figsize=(4.2 * (1 + len(things)), 3.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    lines = [(row["sampler"], row["rollout"]) for row in result["samplers"]]
    lines.append(("nothing moves", result["rollout_still"]))
    all_axes = figure.subplots(1, 1 + len(things), squeeze=False)[0]
    for label, ahead in lines:
        steps = range(1, len(ahead) + 1)
        all_axes[0].plot(steps, [scores["psnr"] for scores in ahead], "o-", label=label)
        for axes, thing in zip(all_axes[1:], things, strict=True):
            errors = [scores["track_px"].get(thing, {}).get("mean") for scores in ahead]
            axes.plot(steps, [np.nan if error is None else error for error in errors], "o-", label=label)
    all_axes[0].set_ylabel("PSNR [dB]")
    for axes, thing in zip(all_axes[1:], things, strict=True):
        axes.set_ylabel(f"mean error of the {thing} [px]")
    for axes in all_axes:
        axes.set_xlabel("frames ahead, from one picture")
        axes.set_xticks(range(1, 1 + max(len(ahead) for _, ahead in lines)))
        axes.grid(alpha=0.3)
    all_axes[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
