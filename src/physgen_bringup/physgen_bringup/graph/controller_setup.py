# SPDX-License-Identifier: Apache-2.0
"""The controller's configuration outside of ROS, from the very values that the graph gives to its node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from physgen_bringup.graph.spec import NodeSpec
from physgen_control.controller_config import ControllerConfig
from physgen_control.errors import UserError
from physgen_control.program.parameter_field import coerce
from physgen_control.program.plain_values import read_yaml, shown


def controller_config(node: NodeSpec) -> ControllerConfig:
    """Return the configuration that `node` (the controller of a graph) would start with.

    Raises:
        UserError: An unknown key or a bad value, in one sentence.
    """
    known = {entry.name: entry for entry in fields(ControllerConfig)}
    values: dict[str, Any] = {}
    given = [
        *_file_parameters(node.default_files, node.name),
        dict(node.parameters),
        *_file_parameters(node.override_files, node.name),
    ]
    for parameters in given:
        for name, value in parameters.items():
            if name in known:
                values[name] = coerce(known[name], value)
            elif name != "use_sim_time":
                raise UserError(f"the controller has no parameter {name!r}")
    return ControllerConfig(**values)


def _file_parameters(paths: Iterable[Path], node_name: str) -> list[dict[str, Any]]:
    found = []
    for path in paths:
        content = _mapping(read_yaml(path), str(path))
        for key in ("/**", node_name, f"/{node_name}"):
            of_node = _mapping(content.get(key), f"{path}: {key}")
            parameters = _mapping(of_node.get("ros__parameters"), f"{path}: {key}: ros__parameters")
            if key == "/**":
                # What is meant for every node may not concern this one.
                names = {entry.name for entry in fields(ControllerConfig)}
                parameters = {name: value for name, value in parameters.items() if name in names}
            found.append(parameters)
    return found


def _mapping(values: Any, where: str) -> dict[Any, Any]:
    """Return a mapping, empty where there is nothing.

    Raises:
        UserError: There is something else.
    """
    if values is not None and not isinstance(values, dict):
        raise UserError(f"{where} must be a mapping of keys to values, got {shown(values)}")
    return values or {}
