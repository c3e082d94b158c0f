# SPDX-License-Identifier: Apache-2.0
"""`physgen ros2 ...`: ROS 2's own command line where it is installed, otherwise its everyday part."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from physgen_control.program.command_parser import CommandParser

DESCRIPTION = """\
Look at a running graph as with ROS 2's `ros2`, which is used where it is installed. Without it, this can:
  node list | info NODE
  topic list | info TOPIC | echo TOPIC [--once] | hz TOPIC
  service list | call SERVICE TYPE [VALUES]
  param list NODE | get NODE NAME | set NODE NAME VALUE
Names and options are those of `ros2`; VALUES is YAML."""
HZ_MESSAGES = 20


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen ros2",
        description=DESCRIPTION,
        examples=(
            "physgen ros2 topic echo /physgen/safety_status --once",
            "physgen ros2 service call /physgen/set_armed std_srvs/srv/SetBool '{data: true}'",
        ),
    )
    groups = parser.add_subparsers(dest="group", required=True, metavar="node|topic|service|param")
    for group, verbs in {
        "node": {"list": (), "info": ("name",)},
        "topic": {"list": (), "info": ("name",), "echo": ("name",), "hz": ("name",)},
        "service": {"list": (), "call": ("name", "type", "values")},
        "param": {"list": ("name",), "get": ("name", "parameter"), "set": ("name", "parameter", "value")},
    }.items():
        of_group = groups.add_parser(
            group, prog=f"physgen ros2 {group}", description=f"ros2 {group}"
        ).add_subparsers(dest="verb", required=True)
        for verb, words in verbs.items():
            told = f"physgen ros2 {group} {verb}"
            one = of_group.add_parser(verb, prog=told, description=f"ros2 {group} {verb}")
            for word in words:
                optional: dict[str, Any] = {"nargs": "?", "default": "{}"} if word == "values" else {}
                one.add_argument(word, **optional)
            if verb == "list" and not words:
                one.add_argument("-t", "--show-types", action="store_true", help="with their types")
            if verb == "echo":
                one.add_argument("--once", action="store_true", help="one message, then end")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over to ros2, or do it here."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not {"-h", "--help"} & set(words):
        from physgen_bringup.graph.domain import VARIABLE, join_running_graph

        domain = join_running_graph(os.environ)
        if domain is not None:
            os.environ[VARIABLE] = str(domain)
    if shutil.which("ros2"):
        os.execvp("ros2", ["ros2", *words])
    options = build_parser().parse_args(words)
    tools = importlib.import_module("physgen_bringup.nodes.ros2_tools")
    run = {"node": _node, "topic": _topic, "service": _service, "param": _param}[options.group]
    return run(options, tools)


def _node(options: Any, tools: Any) -> int:
    if options.verb == "list":
        print("\n".join(tools.node_names()))
        return 0
    print(_yaml(tools.node_info(options.name)), end="")
    return 0


def _topic(options: Any, tools: Any) -> int:
    if options.verb == "list":
        return _names(tools.topic_names(), options.show_types)
    if options.verb == "info":
        print(_yaml(tools.topic_info(options.name)), end="")
        return 0
    if options.verb == "hz":
        times = [moment for moment, _ in tools.messages(options.name, HZ_MESSAGES, 10.0)]
        print(f"average rate: {(len(times) - 1) / (times[-1] - times[0]):.2f} Hz over {len(times)} messages")
        return 0
    for _, values in tools.messages(
        options.name, 1 if options.once else None, 10.0 if options.once else None
    ):
        print(f"{_yaml(values)}---", flush=True)
    return 0


def _service(options: Any, tools: Any) -> int:
    from physgen_control.errors import UserError
    from physgen_control.program.plain_values import parse_yaml

    if options.verb == "list":
        return _names(tools.service_names(), options.show_types)
    values = parse_yaml(options.values, "the values of the call")
    if not isinstance(values, dict):
        raise UserError(
            f"the values of a call are a mapping such as '{{data: true}}', got {options.values!r}"
        )
    print(_yaml(tools.service_call(options.name, options.type, values)), end="")
    return 0


def _param(options: Any, tools: Any) -> int:
    from physgen_control.errors import UserError
    from physgen_control.program.plain_values import parse_yaml

    if options.verb == "set":
        value = parse_yaml(options.value, "the value of the parameter")
        taken, reason = tools.set_parameter(options.name, options.parameter, value)
        print("set" if taken else f"refused: {reason or 'without a reason'}")
        return 0 if taken else 1
    values = tools.parameters(options.name)
    if options.verb == "list":
        print("\n".join(values))
        return 0
    if options.parameter not in values:
        raise UserError(f"{options.name} has no parameter {options.parameter!r}; it has {', '.join(values)}")
    print(values[options.parameter])
    return 0


def _names(listed: list[tuple[str, list[str]]], with_types: bool) -> int:
    for name, types in listed:
        print(f"{name} [{', '.join(types)}]" if with_types else name)
    return 0


def _yaml(values: Any) -> str:
    from physgen_control.program.plain_values import yaml_text

    return yaml_text(values)


if __name__ == "__main__":
    sys.exit(main())
