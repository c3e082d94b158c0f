# SPDX-License-Identifier: Apache-2.0
"""`physgen teleop`: one teleoperation device for a graph that runs elsewhere, in this terminal."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence

from physgen_control.program.command_parser import CommandParser

DEVICES = ("keyboard", "spacemouse", "gello", "joy")


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen teleop",
        description="Teleoperate the graph that runs on this computer, or the one of ROS_DOMAIN_ID. `physgen launch "
        "teleop:=DEVICE` starts graph and device together.",
        epilog="Parameters follow as name:=value, for example key_speed:=0.05; docs/real_robot/teleoperation.md lists "
        "them. viewer:=rerun or rerun_web looks on (default: rerun for the keyboard where there is a display; "
        "viewer:=none does not).",
        examples=("physgen teleop keyboard key_speed:=0.05",),
    )
    parser.add_argument("device", choices=DEVICES, help="what your hand is on")
    parser.add_argument("parameters", nargs="*", metavar="name:=value", help="parameters of its node")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node in this process."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    bad = [word for word in options.parameters if ":=" not in word]
    if bad:
        parser.error(f"{bad[0]!r} is not a parameter; write name:=value")
    from physgen_bringup.graph.domain import VARIABLE, join_running_graph

    domain = join_running_graph(os.environ)
    if domain is not None:
        os.environ[VARIABLE] = str(domain)
    words, viewer = _viewer_of(options.device, options.parameters)
    looking = _start_viewer(viewer, options.device) if viewer != "none" else None
    try:
        return _run_device(options.device, words)
    finally:
        if looking is not None:
            looking.terminate()
            looking.wait()


def _run_device(device: str, parameters: Sequence[str]) -> int:
    module = importlib.import_module(f"physgen_control.nodes.{device}_teleop_node")
    words = [word for parameter in parameters for word in ("-p", parameter)]
    sys.argv = [f"{device}_teleop_node", *(["--ros-args", *words] if words else [])]
    status: int = module.main()
    return status


def _viewer_of(device: str, parameters: Sequence[str]) -> tuple[list[str], str]:
    """Return the parameters without `viewer:=`, and the viewer: the one asked for, or the default.

    Raises:
        UserError: The one asked for is not known, or not installed.
    """
    from physgen_bringup.graph.viewer_choice import KINDS, NOT_INSTALLED, default_viewer, is_installed
    from physgen_control.errors import UserError

    chosen = [word.partition(":=")[2] for word in parameters if word.startswith("viewer:=")]
    rest = [word for word in parameters if not word.startswith("viewer:=")]
    if not chosen:
        return rest, default_viewer(device, os.environ)
    if chosen[-1] not in ("none", *KINDS):
        raise UserError(f"viewer:={chosen[-1]} is not possible; choose of none, {', '.join(KINDS)}")
    if chosen[-1] != "none" and not is_installed():
        raise UserError(f"viewer:={chosen[-1]}: {NOT_INSTALLED}")
    return rest, chosen[-1]


def _start_viewer(viewer: str, device: str) -> subprocess.Popen[bytes]:
    keys = "true" if device == "keyboard" else "false"
    words = ["-p", f"viewer:={viewer}", "-p", f"keys:={keys}"]
    return subprocess.Popen(
        [sys.executable, "-m", "physgen_bringup.nodes.viewer_node", "--ros-args", *words],
        stdin=subprocess.DEVNULL,  # the keys are for the device
    )


if __name__ == "__main__":
    sys.exit(main())
