# SPDX-License-Identifier: Apache-2.0
"""The `physgen` command line: a table of subcommands, each a module whose `main(arguments) -> int` is imported late.

This module imports the standard library only, because `./physgen --help` works before anything is installed.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from physgen_control.program import verbosity
from physgen_control.program.command_line import USAGE_STATUS, run_command

VERSION = "0.1.0"
"""Of all packages of the workspace, as their package.xml has it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand of `physgen`."""

    name: str
    module: str
    """What implements it; "": the `./physgen` script itself."""
    summary: str
    """Its one line."""


COMMANDS = (
    Command(
        "demo", "physgen_bringup.commands.demo", "run the shipped policy in simulation and show what happened"
    ),
    Command("launch", "physgen_bringup.commands.launch", "start the robot graph: name:=value ..."),
    Command("teleop", "physgen_bringup.commands.teleop", "move the arm of a running graph by hand"),
    Command("status", "physgen_bringup.commands.status", "show the running graph and what it says of itself"),
    Command("call", "physgen_bringup.commands.call", "ask a running graph: hold, set_armed, recover, home"),
    Command("ros2", "physgen_bringup.commands.ros2", "nodes, topics, services, parameters, as with ros2"),
    Command("eval", "physgen_bringup.commands.evaluate", "evaluate a policy by a benchmark's protocol"),
    Command(
        "collect", "physgen_bringup.commands.collect", "record demonstrations of the scripted expert as bags"
    ),
    Command("convert", "physgen_policy.commands.convert", "turn recorded bags into a training dataset"),
    Command("train", "physgen_bringup.commands.train", "train or fine-tune a policy from a config file"),
    Command(
        "peer-train",
        "physgen_policy.commands.peer_train",
        "train a policy of lerobot on the same demonstrations, to compare with",
    ),
    Command(
        "ablate", "physgen_bringup.commands.ablate", "train and compare variants that differ in one thing"
    ),
    Command(
        "import",
        "physgen_policy.commands.import_nova",
        "make a checkpoint of a published video model, to fine-tune",
    ),
    Command(
        "push", "physgen_policy.commands.push", "copy a checkpoint or dataset to a hub folder or repository"
    ),
    Command("pull", "physgen_policy.commands.pull", "copy a checkpoint or dataset from there"),
    Command("tensorboard", "physgen_policy.commands.tensorboard", "show the curves of training runs"),
    Command("camera", "physgen_bringup.commands.camera", "where the cameras are, and whether one was bumped"),
    Command(
        "physworld",
        "physgen_physworld.commands.physworld",
        "do what a video shows: reconstruct it, judge it in a physical twin, act",
    ),
    Command("view", "physgen_bringup.commands.view", "look at a recording or a run"),
    Command(
        "imagine",
        "physgen_bringup.commands.imagine",
        "film what a checkpoint expects to happen, from one picture",
    ),
    Command("bench", "physgen_bringup.commands.bench", "measure speed and latency on this machine"),
    Command(
        "chaos",
        "physgen_bringup.commands.chaos",
        "inject hazards into a running graph and measure the reaction",
    ),
    Command(
        "sros2-policy",
        "physgen_bringup.commands.sros2_policy",
        "write what every node of a graph may do on a secured network",
    ),
    Command(
        "model-info", "physgen_policy.commands.model_info", "count the parameters of a preset or checkpoint"
    ),
    Command(
        "verify-golden", "physgen_policy.commands.verify_golden", "compare the model with reference tensors"
    ),
    Command(
        "completion",
        "physgen_bringup.commands.completion",
        "print a script that completes commands and options in a shell",
    ),
    Command("repair", "physgen_control.commands.repair", "mend a recording that ended in a crash"),
    Command(
        "python", "physgen_bringup.commands.run_python", "run Python with everything that the stack imports"
    ),
    Command("shell", "physgen_bringup.commands.shell", "start a shell with the environment of the stack"),
    Command(
        "doctor", "physgen_bringup.commands.doctor", "look at this machine: is it fit, and what to do if not"
    ),
    Command("setup", "", "install what the commands need, alone"),
    Command("test", "", "run every check: lint, types, build, tests"),
)


def find_command(name: str) -> Command | None:
    """Return the subcommand of that name."""
    return next((command for command in COMMANDS if command.name == name), None)


def overview() -> str:
    """Return the text of `physgen --help`."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [
        "usage: physgen COMMAND [ARGUMENTS]",
        "",
        "The PhysGen robot stack: a video-action policy on a simulated or real Franka arm.",
        "",
        "commands:",
        *(f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS),
        "",
        "-q, --quiet: results and errors only; -v, --verbose: every line of every node; --version.",
        "`physgen COMMAND --help` shows a command's arguments. What a command needs is set up at its first use,",
        "into the folder .physgen (elsewhere: PHYSGEN_HOME). PHYSGEN_DEBUG=1 shows the traceback of an error.",
    ]
    return "\n".join(lines)


def unknown_command(name: str) -> str:
    """Return the sentence for a name that is no command, with the nearest one."""
    near = difflib.get_close_matches(name, [command.name for command in COMMANDS], n=1, cutoff=0.5)
    hint = f"did you mean `physgen {near[0]}`?" if near else "`physgen --help` lists the commands."
    return f"physgen: there is no command {name!r}; {hint}"


def version() -> str:
    """Return the version of the stack and, in a checkout, its commit."""
    from physgen_bringup.results.provenance import git_state

    git = git_state()
    state = f" (commit {git['commit'][:12]}{', changed' if git['dirty'] else ''})" if git else ""
    return f"physgen {VERSION}{state}"


def command_first(words: Sequence[str]) -> list[str]:
    """Return the words with -q and -v, which may stand in front of the command, behind it."""
    flags = list(itertools.takewhile(verbosity.FLAGS.__contains__, words))
    rest = list(words[len(flags) :])
    return [*rest[:1], *flags, *rest[1:]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status; 2 for a name that is none."""
    words = command_first(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        sys.stdout.write(version() + "\n")
        return 0
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help"]
    if not words or words[0] in {"help", "-h", "--help"}:
        sys.stdout.write(overview() + "\n")
        return 0
    name, rest = words[0], words[1:]
    command = find_command(name)
    if command is None:
        sys.stderr.write(unknown_command(name) + "\n")
        return USAGE_STATUS
    if not command.module:
        sys.stderr.write(
            f"physgen: `{name}` belongs to the checkout's own script: run `./physgen {name}` there.\n"
        )
        return USAGE_STATUS

    def run(words: list[str]) -> int:
        if name != "doctor" and not {"-h", "--help"} & set(
            words
        ):  # these two work before anything is installed
            from physgen_bringup.graph.domain import chosen_domain

            chosen_domain(os.environ)  # a domain that is none ends every node with a traceback
        module = importlib.import_module(command.module)
        status: int = module.main(words)
        return status

    return run_command(f"physgen {name}", run, rest)


if __name__ == "__main__":
    sys.exit(main())
