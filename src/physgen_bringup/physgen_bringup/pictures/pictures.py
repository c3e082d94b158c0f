# SPDX-License-Identifier: Apache-2.0
"""Renders what people look at after a run, a video of recorded episodes and plots, from values without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from physgen_control.errors import UserError
from physgen_control.types import HORIZON, AppliedAction, Float64Array, Limit, Source, UInt8Image

LABELS = ("dx", "dy", "dz", "rx", "ry", "rz", "grip")
UNITS = ("m", "m", "m", "rad", "rad", "rad", "")
SOURCE_COLOURS = {
    Source.NONE: (120, 120, 120),
    Source.POLICY: (80, 200, 120),
    Source.TELEOP: (90, 150, 255),
    Source.HOLD: (240, 180, 60),
    Source.HOMING: (180, 120, 240),
}
VIEW_PX = 320
PANEL_PX = 168
HISTORY_STEPS = 60
_BACKGROUND, _INK, _FAINT, _RAW = (18, 20, 24), (230, 230, 230), (70, 74, 82), (150, 155, 165)
# The last picture of an episode stays this long, so that its outcome can be read.
FREEZE_S = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recorded episode."""

    seed: int
    task: str
    outcome: str
    rate_hz: float
    """Control steps per second."""
    fixed: Sequence[UInt8Image]
    """Image n was seen after n * picture_every actions."""
    wrist: Sequence[UInt8Image]
    """Image n was seen after n * picture_every actions."""
    predicted: dict[int, UInt8Image]
    """Imagined frames by the step they were made at (may be empty)."""
    actions: Sequence[AppliedAction]
    """Applied actions in the order of their steps."""
    tcp: Float64Array
    """float64 [n, 3] in m, base frame."""
    picture_every: int = 1
    """Control steps from one image to the next."""


def write_video(recordings: Iterable[Recording], path: Path, *, rate_hz: float = 20.0) -> Path:
    """Write an H.264 video of the episodes, one after the other, at the speed of the robot; return its path.

    Raises:
        UserError: No recording has an image.
    """
    import imageio_ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    writer, size = None, (0, 0)
    try:
        for recording in recordings:
            for frame in video_frames(recording):
                if writer is None:
                    size = height, width = frame.shape[:2]
                    writer = imageio_ffmpeg.write_frames(
                        str(path), (width, height), fps=rate_hz, macro_block_size=8, ffmpeg_log_level="error"
                    )
                    writer.send(None)
                writer.send(np.ascontiguousarray(_on_canvas(frame, size)))
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise UserError("the recordings hold no images, so there is no video to make")
    return path


def _on_canvas(frame: UInt8Image, size: tuple[int, int]) -> UInt8Image:
    """Return a frame in the size of the film, which is that of its first: cut, or on the background."""
    if frame.shape[:2] == size:
        return frame
    canvas: UInt8Image = np.full((*size, 3), _BACKGROUND, np.uint8)
    height, width = min(size[0], frame.shape[0]), min(size[1], frame.shape[1])
    canvas[:height, :width] = frame[:height, :width]
    return canvas


def video_frames(recording: Recording) -> Iterator[UInt8Image]:
    """Yield the images of one episode's video, uint8 [y, x, 3]: the cameras, and the actions below.

    Where frames were imagined: beside each camera the frame that is expected at the end of the chunk that is executed,
    and the picture that was seen then.
    """
    pictures = min(len(recording.fixed), len(recording.wrist))
    if not pictures:
        return
    # A picture is shown until the next one; after the last there may be actions still.
    every = recording.picture_every
    count = min(pictures * every, max((pictures - 1) * every, len(recording.actions)) + 1)
    raw = np.array([action.raw for action in recording.actions], np.float32).reshape(-1, len(LABELS))
    applied = np.array([action.applied for action in recording.actions], np.float32).reshape(-1, len(LABELS))
    scale = np.maximum(np.abs(np.concatenate([raw, applied])).max(axis=0, initial=1e-6), 1e-6)
    frame = None
    imagined_at = -1
    for step in range(count):
        imagined_at = step if step in recording.predicted else imagined_at
        frame = _picture(recording, step, imagined_at, raw / scale, applied / scale, last=step == count - 1)
        yield frame
    for _ in range(int(FREEZE_S * recording.rate_hz)):
        if frame is not None:
            yield frame


def _picture(
    recording: Recording,
    step: int,
    imagined_at: int,
    raw: np.ndarray,
    applied: np.ndarray,
    *,
    last: bool,
) -> UInt8Image:
    rows = _views(recording, step, imagined_at)
    columns = len(rows[0])
    canvas = Image.new("RGB", (columns * VIEW_PX, len(rows) * VIEW_PX + PANEL_PX), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for row, views in enumerate(rows):
        for column, (title, rgb) in enumerate(views):
            corner = (column * VIEW_PX, row * VIEW_PX)
            if rgb is not None:
                view = Image.fromarray(rgb).resize((VIEW_PX, VIEW_PX), Image.Resampling.BILINEAR)
                canvas.paste(view, corner)
            draw.rectangle(
                (corner[0] + 4, corner[1] + 4, corner[0] + 8 + 6 * len(title), corner[1] + 18),
                fill=_BACKGROUND,
            )
            draw.text((corner[0] + 7, corner[1] + 5), title, fill=_INK)
    top = len(rows) * VIEW_PX
    _draw_heading(draw, recording, step, top, last=last)
    _draw_actions(draw, recording, step, raw, applied, top + 22, columns * VIEW_PX)
    return np.asarray(canvas)


def _views(recording: Recording, step: int, imagined_at: int) -> list[list[tuple[str, UInt8Image | None]]]:
    """Return the pictures of a step with their titles, row by row; None where there is none."""
    shown = step // recording.picture_every
    cameras = (("fixed camera", recording.fixed), ("wrist camera", recording.wrist))
    if not recording.predicted:
        return [[(title, pictures[shown]) for title, pictures in cameras]]
    expected = np.split(recording.predicted[imagined_at], 2, axis=1) if imagined_at >= 0 else (None, None)
    due, between = divmod(imagined_at + HORIZON, recording.picture_every)
    rows = []
    for view, (title, pictures) in zip(expected, cameras, strict=True):
        came = pictures[due] if view is not None and not between and due < len(pictures) else None
        rows.append([(title, pictures[shown]), ("expected after this chunk", view), ("what came", came)])
    return rows


def _draw_heading(
    draw: ImageDraw.ImageDraw, recording: Recording, step: int, top: int, *, last: bool
) -> None:
    text = f"{recording.task}  seed {recording.seed}  step {step}  {step / recording.rate_hz:4.1f} s"
    draw.text((8, top + 5), text, fill=_INK)
    if last:
        colour = (80, 220, 120) if recording.outcome == "success" else (240, 100, 90)
        draw.text((8 + 6 * len(text) + 18, top + 5), recording.outcome.upper(), fill=colour)


def _draw_actions(
    draw: ImageDraw.ImageDraw,
    recording: Recording,
    step: int,
    raw: np.ndarray,
    applied: np.ndarray,
    top: int,
    width: int,
) -> None:
    """Draw one row per number of the action: a bar for now, a line for the last seconds; grey is before the limits.

    A faint upright line is where a chunk begins.
    """
    row_px = (PANEL_PX - 30) // len(LABELS)
    now = min(step, len(applied) - 1)
    left, bar_px, line_left = 40, 120, 180
    line_px = width - line_left - 8
    first = max(0, now - HISTORY_STEPS + 1)
    for i in range(first, now + 1):
        if recording.actions[i].step_index == 0:
            x = line_left + (i - first) * line_px // HISTORY_STEPS
            draw.line((x, top, x, top + row_px * len(LABELS)), fill=_FAINT)
    for index, label in enumerate(LABELS):
        y = top + index * row_px + row_px // 2
        draw.text((8, y - 6), label, fill=_INK)
        middle = left + bar_px // 2
        draw.line((middle, y - 6, middle, y + 6), fill=_FAINT)
        draw.line((line_left, y, line_left + line_px, y), fill=_FAINT)
        if now < 0:
            continue
        action = recording.actions[now]
        end = middle + int(applied[now, index] * bar_px / 2)
        draw.rectangle((min(middle, end), y - 4, max(middle, end), y + 4), fill=SOURCE_COLOURS[action.source])
        tick = middle + int(np.clip(raw[now, index], -1, 1) * bar_px / 2)
        draw.line((tick, y - 6, tick, y + 6), fill=_RAW)
        for values, colour in ((raw, _RAW), (applied, SOURCE_COLOURS[action.source])):
            points = [
                (
                    line_left + (i - first) * line_px // HISTORY_STEPS,
                    y - int(values[i, index] * (row_px // 2 - 1)),
                )
                for i in range(first, now + 1)
            ]
            if len(points) > 1:
                draw.line(points, fill=colour, width=2 if values is applied else 1)


def plot_actions(recording: Recording, path: Path) -> Path:
    """Plot the actions before and after the limits over time, with holds and limited steps marked; return the path."""
    figure, axes = _figure(len(LABELS), 1, (9, 10))
    steps = np.array([action.step for action in recording.actions])
    raw = np.array([action.raw for action in recording.actions])
    applied = np.array([action.applied for action in recording.actions])
    held = np.array([action.source == Source.HOLD for action in recording.actions], bool)
    limited = np.array([action.limits != Limit.NONE for action in recording.actions], bool)
    for index, axis in enumerate(axes):
        if len(steps):
            axis.step(steps, raw[:, index], where="post", color="0.6", linewidth=2.5, label="raw")
            axis.step(steps, applied[:, index], where="post", color="C0", linewidth=1.0, label="applied")
            axis.plot(steps[limited], applied[limited, index], "r.", markersize=4, label="limited")
            axis.plot(steps[held], applied[held, index], ".", color="orange", markersize=4, label="hold")
        axis.set_ylabel(f"{LABELS[index]}\n[{UNITS[index]}]" if UNITS[index] else LABELS[index])
        axis.grid(alpha=0.3)
    if len(steps):
        axes[0].legend(loc="upper right", ncols=4, fontsize=8)
    axes[0].set_title(f"{recording.task}, seed {recording.seed}: {recording.outcome}")
    axes[-1].set_xlabel("control step")
    return _save(figure, path)


def plot_tcp_paths(recordings: Sequence[Recording], path: Path) -> Path:
    """Plot the tool centre point's path of every episode, from above and from the side."""
    figure, axes = _figure(1, 2, (10, 4.5))
    for axis, (a, b) in zip(axes, ((0, 1), (0, 2)), strict=True):
        for recording in recordings:
            if len(recording.tcp):
                colour = "C2" if recording.outcome == "success" else "C3"
                axis.plot(recording.tcp[:, a], recording.tcp[:, b], color=colour, linewidth=1, alpha=0.8)
                axis.plot(recording.tcp[0, a], recording.tcp[0, b], "k.", markersize=3)
        axis.set_xlabel("x [m]")
        axis.set_ylabel("y [m]" if b == 1 else "z [m]")
        axis.set_aspect("equal", adjustable="datalim")
        axis.grid(alpha=0.3)
    axes[0].set_title("TCP from above (green: success)")
    axes[1].set_title("TCP from the side")
    return _save(figure, path)


def plot_latencies(samples: dict[str, list[float]], path: Path) -> Path:
    """Plot histograms of latencies [ms] with their percentiles."""
    figure, axes = _figure(1, max(1, len(samples)), (5 * max(1, len(samples)), 3.8))
    for axis, (name, values) in zip(axes, samples.items(), strict=False):
        if values:
            axis.hist(values, bins=40, color="C0")
            for percentile, colour in ((50, "k"), (95, "C1"), (99, "C3")):
                value = float(np.percentile(values, percentile))
                axis.axvline(value, color=colour, linewidth=1, label=f"p{percentile} {value:.1f} ms")
            axis.legend(fontsize=8)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("wall time [ms]")
    return _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state and may want a display.
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=rows > 1)
    return figure, list(axes.flat)


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
