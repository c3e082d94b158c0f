# SPDX-License-Identifier: Apache-2.0
"""Ask the OSV database whether a pinned package has a known vulnerability; standard library only.

It ends with status 1 and one line per advisory that `requirements/advisories.txt` does not accept with a reason. Where
the database cannot be reached it says so and passes: nothing was found out.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVICE = "https://api.osv.dev/v1/querybatch"
TIMEOUT_S = 20.0
BATCH = 500
MAX_ANSWER_BYTES = 20_000_000
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)")


def pinned(folder: Path) -> dict[tuple[str, str], list[str]]:
    """Return {(name, version): lock files} of every pin in the folder's lock files."""
    pins: dict[tuple[str, str], list[str]] = {}
    for path in sorted(folder.glob("*.lock")):
        for line in path.read_text().splitlines():
            if found := _PIN.match(line):
                pins.setdefault((found[1].lower(), found[2]), []).append(path.name)
    return pins


def accepted(path: Path) -> dict[str, str]:
    """Return {advisory: reason}; each line of the file is an advisory's id and why it does not concern the project.

    Raises:
        ValueError: A line has no reason.
    """
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    without = [pair[0] for pair in pairs if len(pair) < 2]
    if without:
        raise ValueError(f"{path}: {', '.join(without)} has no reason.")
    return {pair[0]: pair[1] for pair in pairs}


def advisories(
    pins: Sequence[tuple[str, str]], service: str = SERVICE
) -> Mapping[tuple[str, str], Sequence[str]]:
    """Return the ids of the advisories of each pin that has any; raises OSError where the service does not answer."""
    found: dict[tuple[str, str], list[str]] = {}
    for first in range(0, len(pins), BATCH):
        part = pins[first : first + BATCH]
        queries = [
            {"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in part
        ]
        request = urllib.request.Request(
            service, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            results = json.loads(answer.read(MAX_ANSWER_BYTES))["results"]
        for pin, result in zip(part, results, strict=True):
            ids = [entry["id"] for entry in result.get("vulns", [])]
            if ids:
                found[pin] = ids
    return found


def main(root: Path, service: str = SERVICE) -> int:
    """Print what was found; return 1 for an advisory that nobody accepted."""
    folder = root / "requirements"
    pins = pinned(folder)
    reasons = accepted(folder / "advisories.txt")
    try:
        found = advisories(list(pins), service)
    except (OSError, ValueError, KeyError) as error:
        sys.stdout.write(f"The advisories cannot be reached ({error}); {len(pins)} pins were not audited.\n")
        return 0
    open_ones = 0
    for (name, version), ids in found.items():
        for advisory in ids:
            reason = reasons.get(advisory, "")
            open_ones += not reason
            where = ", ".join(pins[name, version])
            sys.stdout.write(
                f"{name} {version} ({where}): {advisory}{f', accepted: {reason}' if reason else ''}\n"
            )
    sys.stdout.write(f"{len(pins)} pins audited, {open_ones} advisories nobody accepted.\n")
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
