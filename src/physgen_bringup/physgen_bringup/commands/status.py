# SPDX-License-Identifier: Apache-2.0
"""`physgen status`: what runs, whether it is alive, and what it says of itself."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from physgen_control.program.command_parser import CommandParser


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen status",
        description="Show the graph that runs on this computer, or the one of ROS_DOMAIN_ID: its nodes and which "
        "of them are alive, the safety state, the policy and its checkpoint, episode and recorder. Exit status "
        "1 if none runs.",
        examples=("physgen status", "physgen status --json"),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Look once and print."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.graph.domain import VARIABLE, join_running_graph
    from physgen_control.program.progress import Progress

    domain = join_running_graph(os.environ)
    if domain is not None:
        os.environ[VARIABLE] = str(domain)
    shown = os.environ.get(VARIABLE, "") or "0"
    progress = Progress()
    with progress.stage(f"listening in DDS domain {shown}"):
        status = importlib.import_module("physgen_bringup.nodes.graph_status").look()
    if options.json:
        print(json.dumps({"domain": int(shown), **asdict(status)}, indent=1))
        return 0 if status.nodes else 1
    if not status.nodes:
        print(f"No graph runs in DDS domain {shown}.", flush=True)
        progress.next("./physgen", "launch", "sim:=fake", "policy:=expert")
        return 1
    print(
        f"DDS domain  {shown}\n"
        f"alive       {', '.join(status.alive) or 'nobody (no heartbeat)'}\n"
        f"nodes       {', '.join(status.nodes)}\n"
        f"safety      {status.safety or 'no controller speaks'}\n"
        f"policy      {status.policy or 'none'}\n"
        f"checkpoint  {status.checkpoint or 'none'}\n"
        f"episode     {status.episode or 'none'}\n"
        f"recorder    {status.recorder or 'none'}",
        flush=True,
    )
    progress.next("./physgen", "call", "hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
