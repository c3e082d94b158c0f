# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML file that needs nothing else: tables, films and pictures, a filter for failures, no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from physgen_bringup.paths import config_file
from physgen_bringup.results.whole_file import write_atomically

FILE_NAME = "report.html"
TEMPLATE = "report.html"
MOST_BYTES = 64_000_000
"""Films and pictures of one report; what is more is named and left out, so that a browser can open it."""
TYPES = {".mp4": "video/mp4", ".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg"}

Outcome = Literal["success", "failure", ""]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; one with an outcome takes part in the filter."""

    cells: tuple[str | int | float, ...]
    outcome: Outcome = ""


class MediaFile(NamedTuple):
    """A film or picture on the disk, with what is written below it."""

    path: Path
    caption: str
    outcome: Outcome = ""


@dataclass(frozen=True, slots=True)
class Media:
    """A film or picture in the page."""

    caption: str
    kind: Literal["video", "image"]
    uri: str
    outcome: Outcome = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page; whatever is empty is left out."""

    title: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    media: tuple[Media, ...] = ()
    code: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole page."""

    title: str
    lead: str
    sections: tuple[Section, ...]

    @property
    def has_outcomes(self) -> bool:
        """There is something to filter."""
        return any(row.outcome for section in self.sections for row in section.rows)


def media_section(title: str, files: Sequence[MediaFile], budget: int = MOST_BYTES) -> Section:
    """Films and pictures with their captions, as many as fit; those that do not are named."""
    media, left_out = [], []
    for path, caption, outcome in files:
        size = path.stat().st_size
        if size > budget:
            left_out.append(path.name)
            continue
        budget -= size
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        media_type = TYPES[path.suffix.lower()]
        kind: Literal["video", "image"] = "video" if media_type.startswith("video") else "image"
        media.append(Media(caption, kind, f"data:{media_type};base64,{data}", outcome))
    text = f"Too large for this page, beside it: {', '.join(left_out)}." if left_out else ""
    return Section(title=title, text=text, media=tuple(media))


def write_page(report: Report, path: Path) -> Path:
    """Write the page and return its path."""
    from jinja2 import Environment, FileSystemLoader

    template = config_file(TEMPLATE)
    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    write_atomically(path, environment.get_template(template.name).render(report=report))
    return path
