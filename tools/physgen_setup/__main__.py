# SPDX-License-Identifier: Apache-2.0
"""What `./physgen ARGUMENTS` does: help without set-up, set-up when needed, then the command in the venv's Python."""

from __future__ import annotations

import signal

# Ctrl-C while the modules below are loaded is quiet, too.
_interrupt = signal.getsignal(signal.SIGINT)
if _interrupt is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# ruff: noqa: E402
import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from physgen_setup.environment import runtime_environment
from physgen_setup.extras import EXTRAS, SIMULATIONS, needed_extras
from physgen_setup.layout import PYTHON_PACKAGES, Layout
from physgen_setup.plan import StepFailedError, is_ready, run_plan
from physgen_setup.shell import Console

signal.signal(signal.SIGINT, _interrupt)

ROOT = Path(__file__).resolve().parents[2]
CLI = "physgen_bringup.cli"
CHECKS = "physgen_checks"


def ensure(layout: Layout, extras: frozenset[str]) -> int:
    """Set up what is missing; return 0, or the exit status after telling the user what failed."""
    console = Console()
    try:
        run_plan(layout, extras, console)
    except StepFailedError as failure:
        console.say(f"\nThe last lines of the log:\n{failure.log_tail}\n")
        console.say(
            f"physgen: set-up stopped at step {failure.position} ({failure.step.title}): {failure.cause.sentence}"
        )
        if failure.cause.remedy:
            console.say(f"What to do: {failure.cause.remedy}")
        return 1
    except KeyboardInterrupt:
        console.say("physgen: set-up interrupted; finished steps are kept, run the command again to go on.")
        return 130
    except OSError as error:
        console.say(f"physgen: set-up stopped: {error}.")
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `./physgen setup`."""
    parser = argparse.ArgumentParser(
        prog="physgen setup", description="Install everything the commands need into the state folder."
    )
    parser.add_argument(
        "--sim",
        default="maniskill",
        help=f"simulations to set up, comma separated, of {', '.join(SIMULATIONS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--libero-assets",
        default="",
        metavar="DIR",
        help="use this folder of LIBERO's scene files instead of downloading them (420 MB)",
    )
    parser.add_argument("--viewer", action="store_true", help="the rerun viewer too")
    parser.add_argument("--physworld", action="store_true", help="the physical twin and its learning, too")
    parser.add_argument("--teleop", action="store_true", help="the SpaceMouse library too")
    parser.add_argument("--lerobot", action="store_true", help="what writing LeRobot datasets needs, too")
    parser.add_argument("--peer", action="store_true", help="the lerobot package, to compare with, too")
    parser.add_argument("--dev", action="store_true", help="the tools of `./physgen test` too")
    return parser


def setup_command(layout: Layout, arguments: Sequence[str]) -> int:
    """Run `./physgen setup`."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    simulations = [name for name in options.sim.split(",") if name]
    unknown = sorted(set(simulations) - set(SIMULATIONS))
    if unknown:
        parser.error(f"unknown simulation {', '.join(unknown)}: choose of {', '.join(SIMULATIONS)}")
    wanted = {
        "lerobot": options.lerobot,
        "peer": options.peer,
        "libero": "libero" in simulations,
        "viewer": options.viewer,
        "physworld": options.physworld,
        "teleop": options.teleop,
        "dev": options.dev,
    }
    started = time.monotonic()
    status = ensure(layout, frozenset(name for name in EXTRAS if wanted[name]))
    if status == 0 and "libero" in simulations:
        status = libero_assets(layout, options.libero_assets)
    if status == 0:
        print(f"physgen is set up in {layout.home} ({time.monotonic() - started:.1f} s).")
    return status


def libero_assets(layout: Layout, folder: str) -> int:
    """Check or download LIBERO's scene files, which no package holds; its sentence is already printed on failure."""
    environment = runtime_environment(layout, os.environ)
    command = [str(layout.python), "-P", "-m", "physgen_sim_bridge.libero.assets", folder]
    return subprocess.run(command, env=environment, check=False).returncode


def in_venv(layout: Layout, module: str, arguments: Sequence[str]) -> int:
    """Replace this process by a module run with the environment's Python."""
    environment = runtime_environment(layout, os.environ)
    if module == CHECKS:
        environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tools'}"
    Path(environment["ROS_LOG_DIR"]).mkdir(parents=True, exist_ok=True)
    os.execve(layout.python, [str(layout.python), "-P", "-m", module, *arguments], environment)


def without_setup(arguments: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command that needs the standard library only with this Python."""
    paths = os.pathsep.join(str(ROOT / "src" / name) for name in PYTHON_PACKAGES)
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", CLI, *arguments]
    return subprocess.run(command, env=environment, capture_output=capture, text=True, check=False)


def help_without_setup(arguments: Sequence[str]) -> int:
    """Show a subcommand's help with this Python, or its line of the overview where its module needs more.

    `arguments` are the command, what it is asked to do (`bench sim`, `eval compare`) and --help among them.
    """
    result = without_setup(arguments, capture=True)
    if result.returncode == 0:
        print(result.stdout, end="")
        return 0
    from physgen_bringup.cli import COMMANDS  # stdlib only, and on the path since `main`

    line = next(command.summary for command in COMMANDS if command.name == arguments[0])
    print(f"physgen {arguments[0]}: {line}")
    print("Its options are shown after `./physgen setup`.")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns only when no other process took over."""
    sys.path.insert(0, str(ROOT / "src" / "physgen_control"))
    sys.path.insert(0, str(ROOT / "src" / "physgen_bringup"))
    os.environ.pop("PYTHONPATH", None)  # it led here and must not reach pip, colcon or the commands
    from physgen_bringup import cli  # the command table imports the standard library only

    if list(arguments[:1]) == ["help"] and len(arguments) > 1:
        arguments = [arguments[1], "--help"]
    arguments = cli.command_first(arguments)
    if not arguments or arguments[0] in {"help", "-h", "--help"}:
        return cli.main(["--help"])
    if arguments[0] == "--version":
        return cli.main(["--version"])
    name, rest = arguments[0], list(arguments[1:])
    if cli.find_command(name) is None:
        return cli.main([name])
    layout = Layout.of(ROOT, os.environ)
    if name == "setup":
        return setup_command(layout, rest)
    wants_help = "-h" in rest or "--help" in rest
    module = CHECKS if name == "test" else CLI
    forwarded = rest if name == "test" else [name, *rest]
    extras = needed_extras(name, rest, os.environ)
    if wants_help:
        if is_ready(layout, frozenset()):
            return in_venv(layout, module, forwarded)
        if name == "test":
            from physgen_checks import __main__ as checks  # on the path as this package is

            checks.build_parser().print_help()
            return 0
        return help_without_setup(forwarded)
    if name == "doctor" and not is_ready(layout, frozenset()):
        return without_setup(forwarded).returncode  # it is for machines that cannot be set up, too
    if not is_ready(layout, extras):
        status = ensure(layout, extras)
        if status != 0:
            return status
    return in_venv(layout, module, forwarded)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
