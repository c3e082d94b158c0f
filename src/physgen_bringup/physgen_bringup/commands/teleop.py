# SPDX-License-Identifier: Apache-2.0
"""`physgen teleop`: one teleoperation device for a graph that runs elsewhere, in this terminal."""

from __future__ import annotations

import importlib
import os
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
        "them.",
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
    module = importlib.import_module(f"physgen_control.nodes.{options.device}_teleop_node")
    words = [word for parameter in options.parameters for word in ("-p", parameter)]
    sys.argv = [f"{options.device}_teleop_node", *(["--ros-args", *words] if words else [])]
    status: int = module.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
