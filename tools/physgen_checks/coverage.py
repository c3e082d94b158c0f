# SPDX-License-Identifier: Apache-2.0
"""What the tests ran of each package: options for pytest-cov, and a table of its report.

Tracing takes up to 2.4 times as long (damaged bags, measured), so that a run has to ask for it.
Only what runs in the tests' own processes is counted. Nodes are processes, judged by when they answer, and tracing
would change that.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from physgen_setup.layout import PYTHON_PACKAGES

LEFT_OUT = ("nodes", "chaos")
"""Folders whose code runs in processes of its own."""


def options(report: Path) -> list[str]:
    """Return pytest's options: lines of all packages, the report as JSON."""
    return [*(f"--cov={name}" for name in PYTHON_PACKAGES), f"--cov-report=json:{report}"]


def table(report: Path) -> str:
    """Return a line for each package: lines run, lines in all, per cent; and one for all of them."""
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    run: dict[str, int] = defaultdict(int)
    there: dict[str, int] = defaultdict(int)
    for name, entry in files.items():
        parts = Path(name).parts
        if any(folder in parts for folder in LEFT_OUT):
            continue
        for row in (next(part for part in parts if part in PYTHON_PACKAGES), "all"):
            run[row] += entry["summary"]["covered_lines"]
            there[row] += entry["summary"]["num_statements"]
    rows = [
        f"  {name:<20} {run[name]:>6} of {there[name]:>6} lines  {100 * run[name] / max(1, there[name]):5.1f} %"
        for name in (*PYTHON_PACKAGES, "all")
    ]
    return "\n".join(["coverage, without code that runs in node processes:", *rows])
