# SPDX-License-Identifier: Apache-2.0
"""Which optional parts a command line needs, so that every subcommand sets up what it uses the first time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# Name -> what it brings. ManiSkill belongs to the base: the main job needs it.
EXTRAS = {
    "libero": "LIBERO environments",
    "lerobot": "LeRobot datasets",
    "peer": "LeRobot policies",
    "physworld": "physical twin and residual learning",
    "viewer": "rerun viewer",
    "teleop": "SpaceMouse library",
    "dev": "test tools",
}
# Extras that get a folder of their own below the state folder, because they must not enter the environment.
OWN_FOLDERS = {"peer": "lerobot"}
SIMULATIONS = ("maniskill", "libero")


def value_of(arguments: Sequence[str], option: str) -> str:
    """Return the value of `--option VALUE` or `--option=VALUE`; "" when absent."""
    for position, argument in enumerate(arguments):
        if argument == option and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return ""


def needed_extras(command: str, arguments: Sequence[str], environment: Mapping[str, str]) -> frozenset[str]:
    """Return the extras a subcommand with these arguments uses."""
    needed: set[str] = set()
    launch = dict(argument.partition(":=")[::2] for argument in arguments if ":=" in argument)
    task = launch.get("task", "") or value_of(arguments, "--task")
    wants_libero = (
        launch.get("sim") == "libero"
        or value_of(arguments, "--suite").startswith("libero")
        or value_of(arguments, "--sim").startswith("libero")
        or task.startswith("libero")
    )
    if wants_libero and command != "setup":
        needed.add("libero")
    if _looks_on(command, arguments, launch, environment):
        needed.add("viewer")
    if "pyspacemouse" in (launch.get("teleop_device"), launch.get("device")):
        needed.add("teleop")
    if command == "convert" and (value_of(arguments, "--format") == "lerobot" or _lerobot_named(arguments)):
        needed.add("lerobot")
    peer = command == "peer-train" or (command == "eval" and value_of(arguments, "--policy") == "lerobot")
    if peer and not environment.get("PHYSGEN_LEROBOT_PATH"):
        needed.add("peer")
    if "physworld" in (command, launch.get("policy"), value_of(arguments, "--policy")):
        needed.add("physworld")
    if command == "test":
        needed |= {"dev", "physworld"}
        if environment.get("PHYSGEN_LIBERO_ASSETS"):
            needed.add("libero")
        if "--all" in arguments:
            needed |= {"lerobot", "libero", "peer", "viewer"}
    return frozenset(needed)


def _lerobot_named(arguments: Sequence[str]) -> bool:
    """One of the words is the folder of a LeRobot dataset."""
    return any((Path(word) / "meta" / "info.json").is_file() for word in arguments)


def _looks_on(
    command: str, arguments: Sequence[str], launch: Mapping[str, str], environment: Mapping[str, str]
) -> bool:
    """The viewer is asked for, or comes by itself: with the keyboard, where there is a display."""
    if "viewer" in launch:
        return launch["viewer"] not in ("", "none")
    if any(word.partition("=")[0] in ("--viewer", "--rerun") for word in arguments):
        return command in ("demo", "eval", "view")
    if command == "bench":
        return "viewer" in arguments
    if command == "view":
        return any(word.endswith(".rrd") for word in arguments)
    keyboard = launch.get("teleop") == "keyboard" or (command == "teleop" and "keyboard" in arguments)
    return keyboard and bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
