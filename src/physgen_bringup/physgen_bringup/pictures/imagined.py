# SPDX-License-Identifier: Apache-2.0
"""Films of imagined frames: one row per sample, below the film of what really happened where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image

VIEW_PX = 256
TITLE_PX, LABEL_PX = 22, 18
FREEZE_S = 1.0
"""The last frame stays this long."""
_BACKGROUND, _INK, _FAINT = (18, 20, 24), (230, 230, 230), (150, 155, 165)


@dataclass(frozen=True, slots=True)
class FilmRow:
    """One row of a film."""

    label: str
    frames: Sequence[UInt8Image]
    """Spliced frames uint8 [y, 2 x, 3], the first of which is the given one."""
    notes: Sequence[str] = field(default_factory=tuple)
    """May say how good each is."""


def write_imagined(rows: Sequence[FilmRow], path: Path, *, title: str, frame_s: float) -> Path:
    """Write an H.264 film, whole or not at all; every frame is shown for `frame_s`, as long as its chunk takes.

    Raises:
        UserError: There is no frame.
    """
    import imageio_ffmpeg

    count = max((len(row.frames) for row in rows), default=0)
    if count == 0:
        raise UserError("there are no frames to make a film of")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.mp4")
    rate = 20.0
    first = film_frame(rows, 0, title)
    writer = imageio_ffmpeg.write_frames(
        str(partial), (first.shape[1], first.shape[0]), fps=rate, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    try:
        for picture in _held(rows, count, title, round(frame_s * rate), round(FREEZE_S * rate)):
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
    return partial.rename(path)


def _held(
    rows: Sequence[FilmRow], count: int, title: str, times: int, last_times: int
) -> Iterator[UInt8Image]:
    for index in range(count):
        picture = film_frame(rows, index, title)
        for _ in range(max(1, times) + (last_times if index == count - 1 else 0)):
            yield picture


def film_frame(rows: Sequence[FilmRow], index: int, title: str) -> UInt8Image:
    """Return all rows at one frame, uint8 [y, x, 3]; a row that has ended shows its last frame."""
    height, width = rows[0].frames[0].shape[:2]
    size = (VIEW_PX * width // height, VIEW_PX)
    canvas = Image.new("RGB", (size[0], TITLE_PX + len(rows) * (LABEL_PX + VIEW_PX)), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((6, 5), title, fill=_INK)
    for number, row in enumerate(rows):
        top = TITLE_PX + number * (LABEL_PX + VIEW_PX)
        shown = min(index, len(row.frames) - 1)
        note = row.notes[shown] if shown < len(row.notes) else ""
        when = "given picture" if shown == 0 else f"{shown} chunk{'s' * (shown > 1)} later"
        draw.text((6, top + 3), f"{row.label}, {when}", fill=_INK)
        draw.text((size[0] - 6, top + 3), note, fill=_FAINT, anchor="ra")
        frame = Image.fromarray(row.frames[shown]).resize(size, Image.Resampling.BILINEAR)
        canvas.paste(frame, (0, top + LABEL_PX))
    return np.asarray(canvas)
