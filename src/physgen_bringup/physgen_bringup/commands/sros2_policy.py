# SPDX-License-Identifier: Apache-2.0
"""`physgen sros2-policy`: write what every node of a graph may do, for `ros2 security generate_artifacts`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from physgen_control.program.command_parser import CommandParser, add_out, file_to_write


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen sros2-policy",
        description="Write the SROS2 policy of a graph: every node in an enclave of its own, which may do what it does "
        "and nothing else. SECURITY.md says how keys are made of it.",
        examples=("physgen sros2-policy sim:=none robot_ip:=172.16.0.2 --out policy.xml",),
        old_names={"--output": "--out", "-o": "--out"},
    )
    parser.add_argument("words", nargs="*", metavar="name:=value", help="launch arguments of the graph")
    add_out(parser, "file to write (default: the terminal)", type=file_to_write(), metavar="FILE")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the graph, write its policy; return the exit status.

    Raises:
        UserError: The arguments cannot be used, or the file cannot be written.
    """
    options = build_parser().parse_args(arguments)
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.describe import build_graph
    from physgen_bringup.graph.sros2_policy import policy_xml
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.errors import UserError

    text = policy_xml(build_graph(parse_arguments(options.words)))
    if options.out is None:
        sys.stdout.write(text)
        return 0
    try:
        write_atomically(options.out, text)
    except OSError as error:
        raise UserError(f"{options.out} cannot be written: {error.strerror}") from error
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
