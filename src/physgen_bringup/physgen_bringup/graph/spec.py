# SPDX-License-Identifier: Apache-2.0
"""What a graph is made of: processes, other packages' launch files, and their parameters. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

ParameterValue = bool | int | float | str | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One process. `module` is what the local runner executes (None: only in a ROS installation).

    required: the whole graph stops when this process ends unexpectedly. starts_after: starts when the process of this
    name has ended with success; if it fails, the graph stops (only in a ROS installation). terminal: reads keys of the
    terminal that the graph was started in. Later parameters win: default_files, then `parameters`, then
    override_files.
    """

    package: str
    executable: str
    name: str
    module: str | None = None
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    default_files: tuple[Path, ...] = ()
    override_files: tuple[Path, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    required: bool = True
    starts_after: str | None = None
    terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludeSpec:
    """Another package's launch file, found through that package's share folder; it sees these arguments only."""

    package: str
    path: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Everything that runs. `ends_with`: the node whose exit ends the graph (None: runs until stopped)."""

    nodes: tuple[NodeSpec, ...]
    includes: tuple[IncludeSpec, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    output_dir: Path
    ends_with: str | None
    notes: tuple[str, ...] = ()

    def node(self, name: str) -> NodeSpec:
        """The node of this name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def with_parameters(self, name: str, **parameters: ParameterValue) -> Graph:
        """The same graph, but these parameters of the node of this name have other values."""
        changed = replace(self.node(name), parameters={**self.node(name).parameters, **parameters})
        return replace(self, nodes=tuple(changed if node.name == name else node for node in self.nodes))


def enclave(node_name: str) -> str:
    """The SROS2 enclave of a node of this project: a mere name where security is off (ROS_SECURITY_ENABLE)."""
    return f"/physgen/{node_name}"


def parameter_files(node: NodeSpec, own: Path) -> list[Path]:
    """Write the node's own parameters to `own` and return all its parameter files in loading order."""
    if not (node.parameters or node.default_files or node.override_files):
        return []
    own.write_text(parameter_yaml(node))
    return [*node.default_files, own, *node.override_files]


def parameter_yaml(node: NodeSpec) -> str:
    """The node's own parameters as the text of a ROS parameter file."""
    return yaml.safe_dump({node.name: {"ros__parameters": dict(node.parameters)}}, sort_keys=True)
