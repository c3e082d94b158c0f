# SPDX-License-Identifier: Apache-2.0
"""`./physgen test`: lint, format, types, shell, spelling, a colcon build of every package, then pytest."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from physgen_checks import coverage
from physgen_checks.stages import Outcome, Stage, run_lanes, run_streamed
from physgen_setup.environment import build_environment
from physgen_setup.layout import PYTHON_PACKAGES, Layout
from physgen_setup.python_env import site_packages_of
from physgen_setup.workspace import colcon_build_command

ROOT = Path(__file__).resolve().parents[2]
SHELL_FILES = ("physgen", ".ci/run", "tools/relock")
PARTS = ("lint", "build", "tests")
# The domains below are those of single test files, the ones above those of private graphs.
DOMAINS = range(60, 70)
INTERRUPT_STATUS = 130
# Tests of nodes wait for most of their time. Each process loads torch: many must not run out of memory.
PROCESSES = str(min(4, 1 + (os.cpu_count() or 1)))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `./physgen test`."""
    parser = argparse.ArgumentParser(
        prog="physgen test",
        description="Run every check. With -k, -x or paths, only pytest runs, on what they select.",
    )
    parser.add_argument("--all", action="store_true", help="slow tests too, with every simulator set up")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="print which share of each package the tests ran (they take longer)",
    )
    parser.add_argument(
        "-k", metavar="EXPR", default="", help="only the tests that match pytest's expression"
    )
    parser.add_argument("-x", action="store_true", help="stop at the first failing test")
    parser.add_argument(
        "--only", choices=PARTS, help="one part of it: the checks of the text, the colcon build, or pytest"
    )
    parser.add_argument("paths", nargs="*", help="test files or folders (default: every package's tests)")
    return parser


def static_lanes(layout: Layout, *, everything: bool) -> dict[str, list[Stage]]:
    """Return the checks that run before the tests, in lanes by part that go side by side.

    With everything: the dependency audit too, and physgen_msgs is built anew. Else it is the one that set-up built from
    the same sources, also with colcon: compiling it takes over a minute.
    """
    tools = layout.venv / "bin"
    cache = layout.home / "cache"
    python = str(layout.python)
    output = layout.home / "colcon-test"
    install = output / "install"
    built = build_environment(layout)
    messages = install / "physgen_msgs" if everything else layout.messages
    modules = ", ".join(("physgen_msgs.msg", "physgen_bringup.cli", *PYTHON_PACKAGES))
    prefixes = (messages, *(install / name for name in PYTHON_PACKAGES))
    search = os.pathsep.join(str(site_packages_of(layout, prefix)) for prefix in prefixes)
    libraries = f"{messages / 'lib'}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}"
    ruff_cache = ("--cache-dir", str(cache / "ruff"))
    audit = Stage(
        name="dependency audit",
        commands=[[python, str(ROOT / "tools" / "physgen_checks" / "audit.py")]],
        shown=True,
    )
    text = [
        *([audit] if everything else []),
        Stage(name="ruff check", commands=[[str(tools / "ruff"), "check", *ruff_cache, "."]]),
        Stage(name="ruff format", commands=[[str(tools / "ruff"), "format", "--check", *ruff_cache, "."]]),
        Stage(name="shellcheck", commands=[[str(tools / "shellcheck"), *_shell_files()]]),
        Stage(name="spelling", commands=[[str(tools / "codespell")]]),
        Stage(
            name="documentation site",
            commands=[[str(tools / "mkdocs"), "build", "--quiet", "--site-dir", str(layout.home / "site")]],
        ),
        Stage(name="mypy", commands=[[str(tools / "mypy"), "--cache-dir", str(cache / "mypy")]]),
    ]
    product = [
        Stage(
            name="colcon build of all packages",
            commands=[colcon_build_command(layout, output, () if everything else PYTHON_PACKAGES)],
            environment={**os.environ, **built},
        ),
        Stage(
            name="import of the installed packages",
            commands=[[python, "-P", "-c", f"import {modules}"]],
            environment={**os.environ, "PYTHONPATH": search, "LD_LIBRARY_PATH": libraries},
        ),
        Stage(
            name="product from the install space, the source tree out of reach",
            commands=[[python, "-m", "physgen_checks.install_space", str(install), str(messages)]],
            environment={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
            shown=True,
        ),
    ]
    return {"lint": text, "build": product}


def _shell_files() -> list[str]:
    scripts = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docker").glob("*.sh"))
    return [*SHELL_FILES, *scripts]


def pytest_commands(layout: Layout, options: argparse.Namespace) -> list[list[str]]:
    """Return the pytest calls for the parsed options.

    Whole runs are two: everything that may share the processor, several files at a time; then the arms that run in real
    time, one after the other.
    """
    markers = "not hardware" if options.all else "not hardware and not slow"
    common = [
        *(str(layout.python), "-m", "pytest"),
        *("-o", f"cache_dir={layout.home / 'cache' / 'pytest'}"),
        "--color=no",
    ]
    if options.k or options.x or options.paths:
        chosen = [*(["-k", options.k] if options.k else []), *(["-x"] if options.x else []), *options.paths]
        return [[*common, "-m", markers, *chosen]]
    return [
        [
            *(*common, "-m", f"{markers} and not realtime", "-n", PROCESSES, "--dist", "loadfile"),
            *(coverage.options(coverage_report(layout)) if options.coverage or options.all else []),
        ],
        [*common, "-m", f"{markers} and realtime"],
    ]


def coverage_report(layout: Layout) -> Path:
    """Return the file into which pytest-cov writes."""
    return layout.home / "cache" / "coverage.json"


def main(arguments: Sequence[str]) -> int:
    """Run the stages, all of them whatever fails, and return non-zero if any failed."""
    options = build_parser().parse_args(arguments)
    layout = Layout.of(ROOT, os.environ)
    options.paths = [str(Path(path).resolve()) if Path(path).exists() else path for path in options.paths]
    part = "tests" if options.k or options.x or options.paths else options.only
    lanes = static_lanes(layout, everything=options.all)
    outcomes: list[Outcome] = run_lanes([lane for name, lane in lanes.items() if part in (None, name)], ROOT)
    if part in lanes:
        return 0 if all(outcome.passed for outcome in outcomes) else 1
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(random.SystemRandom().choice(DOMAINS)),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(layout.home / "cache" / "hypothesis"),
        "COVERAGE_FILE": str(layout.home / "cache" / "coverage"),
        # Tests run many small operations: threads only make them wait for each other.
        "OMP_NUM_THREADS": "1",
    }
    coverage_report(layout).unlink(missing_ok=True)
    started = time.monotonic()

    def table(status: int) -> str:
        tests = Outcome(name="pytest", passed=status == 0, seconds=time.monotonic() - started)
        stages = ["stages:", *(outcome.line() for outcome in [*outcomes, tests])]
        report = coverage_report(layout)
        covered = ["", coverage.table(report)] if report.exists() else []
        return "\n".join(["", *stages, *covered])

    sys.stdout.write(f"== pytest (ROS_DOMAIN_ID {environment['ROS_DOMAIN_ID']})\n")
    sys.stdout.flush()
    status = run_streamed(pytest_commands(layout, options), ROOT, environment, table)
    return status or (0 if all(outcome.passed for outcome in outcomes) else 1)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPT_STATUS)
