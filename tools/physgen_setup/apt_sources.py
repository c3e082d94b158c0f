# SPDX-License-Identifier: Apache-2.0
"""Reads this machine's apt sources and finds Debian's own mirror in them: pure text in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ONE_LINE = re.compile(
    r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>.*)$"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AptSource:
    """One archive: where it is, which suite, which components, signed by which key ring ("" = not said)."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


def parse_one_line(text: str) -> list[AptSource]:
    """Parse a classic `sources.list`; source-code lines and comments are skipped."""
    found = []
    for raw in text.splitlines():
        match = _ONE_LINE.match(raw.split("#", 1)[0].strip())
        if match is None:
            continue
        options = dict(part.partition("=")[::2] for part in (match["options"] or "").split())
        found.append(
            AptSource(
                uri=match["uri"],
                suite=match["suite"],
                components=tuple(match["components"].split()),
                signed_by=options.get("signed-by", ""),
            )
        )
    return found


def parse_deb822(text: str) -> list[AptSource]:
    """Parse a deb822 `.sources` file: paragraphs of fields, continuation lines indented."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for raw in paragraph.splitlines():
            if raw.startswith("#") or not raw.strip():
                continue
            if raw[0] in " \t":
                fields[name] = f"{fields.get(name, '')} {raw.strip()}".strip()
            else:
                name, _, value = raw.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        found += [
            AptSource(
                uri=uri,
                suite=suite,
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
            )
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def read_sources(etc_apt: Path) -> list[AptSource]:
    """Read `sources.list` and everything in `sources.list.d`."""
    found: list[AptSource] = []
    main = etc_apt / "sources.list"
    folder = etc_apt / "sources.list.d"
    files = [main, *sorted(folder.iterdir())] if folder.is_dir() else [main]
    for path in files:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found += parse_one_line(text)
        elif path.suffix == ".sources":
            found += parse_deb822(text)
    return found


def debian_mirrors(sources: Iterable[AptSource], codename: str) -> list[str]:
    """Return the URIs of Debian's own archive for a release, best guess first.

    Third parties use other suite names, other components or their own key ring. A wrong guess is harmless: the
    archive is only used when its index is signed by the Debian key ring.
    """
    uris = [
        source.uri
        for source in sources
        if source.suite == codename
        and "main" in source.components
        and (not source.signed_by or "debian-archive" in source.signed_by)
    ]
    unique = list(dict.fromkeys(uris))
    return sorted(unique, key=lambda uri: "/debian" not in uri)
