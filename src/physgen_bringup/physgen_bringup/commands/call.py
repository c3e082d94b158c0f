# SPDX-License-Identifier: Apache-2.0
"""`physgen call SERVICE`: what an operator asks a running graph."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from physgen_control.program.command_parser import CommandParser

SERVICES = {
    "hold": "stop the arm until it is armed again",
    "set_armed": "true or false: let the controller move the arm, or not",
    "recover": "after a reflex: error recovery, hardware, controllers (real arm)",
    "clear_fault": "leave FAULT",
    "home": "move the joints to their starting position, where the graph offers it",
    "set_instruction": "TEXT: what the policy is to do",
}
BOOLEANS = ("true", "false")


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    lines = "\n".join(f"  {name:<16} {line}" for name, line in SERVICES.items())
    parser = CommandParser(
        prog="physgen call",
        description="Call a service of the graph that runs on this computer, or of the one of ROS_DOMAIN_ID. Exit "
        f"status 1 if it refuses; it says why.\n{lines}",
        examples=("physgen call hold", "physgen call set_armed true"),
    )
    parser.add_argument("service", choices=tuple(SERVICES), help="what to ask")
    parser.add_argument("value", nargs="?", default="", help="what set_armed and set_instruction need")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Call once and print the answer."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.service == "set_armed" and options.value not in BOOLEANS:
        parser.error(f"set_armed needs true or false, got {options.value!r}: physgen call set_armed true")
    if options.service == "set_instruction" and not options.value:
        parser.error("set_instruction needs a text: physgen call set_instruction 'push the cube'")
    if options.service not in ("set_armed", "set_instruction") and options.value:
        parser.error(f"{options.service} takes no value, got {options.value!r}")
    from physgen_bringup.graph.domain import VARIABLE, join_running_graph
    from physgen_control.program.progress import Progress

    domain = join_running_graph(os.environ)
    if domain is not None:
        os.environ[VARIABLE] = str(domain)
    with Progress().stage(f"calling {options.service}"):
        services = importlib.import_module("physgen_bringup.nodes.services")
        done, sentence = services.call(options.service, options.value)
    print(sentence or ("done" if done else "refused, without a reason"), flush=True)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
