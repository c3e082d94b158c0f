# SPDX-License-Identifier: Apache-2.0
"""Writes a lock file: the pinned closure of an `.in` file, read from the packages installed in this environment.

Run it with the environment's own Python after installing or upgrading something by hand, see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement


def canonical(name: str) -> str:
    """Return the package index's normal form of a distribution name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_roots(path: Path) -> tuple[list[Requirement], set[str]]:
    """Return the requirements of an `.in` file and the names its `# exclude:` lines leave out."""
    roots: list[Requirement] = []
    excluded: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"#\s*exclude:\s*(\S+)", line):
            excluded.add(canonical(match.group(1)))
        elif line.strip() and not line.startswith("#"):
            roots.append(Requirement(line.strip()))
    return roots, excluded


def closure(roots: list[Requirement], excluded: set[str]) -> dict[str, str]:
    """Return name -> version for everything the roots need, following installed metadata."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(root.name, extra) for root in roots for extra in ("", *root.extras)]
    while queue:
        name, extra = queue.pop()
        name = canonical(name)
        if name in excluded or (name, extra) in seen:
            continue
        seen.add((name, extra))
        distribution = importlib.metadata.distribution(name)
        pins[name] = distribution.version.split("+")[0]
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                queue += [(requirement.name, inner) for inner in ("", *requirement.extras)]
    return pins


def main() -> None:
    """Write `NAME.lock` beside `NAME.in`, leaving out what the `--without` locks already pin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the .in file, for example requirements/base.in")
    parser.add_argument(
        "--without", type=Path, nargs="*", default=[], help="lock files whose names are left out"
    )
    arguments = parser.parse_args()
    roots, excluded = read_roots(arguments.source)
    pins = closure(roots, excluded)
    for lock in arguments.without:
        for line in lock.read_text(encoding="utf-8").splitlines():
            pins.pop(line.partition("==")[0], None)
    lines = [
        f"# Written by tools/physgen_setup/relock.py from {arguments.source.name}; installed with --no-deps."
    ]
    lines += [f"{name}=={version}" for name, version in sorted(pins.items())]
    target = arguments.source.with_suffix(".lock")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{target}: {len(pins)} packages")


if __name__ == "__main__":
    main()
