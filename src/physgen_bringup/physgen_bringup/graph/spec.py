# SPDX-License-Identifier: Apache-2.0
"""What a graph is made of: processes, other packages' launch files, and their parameters. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

ParameterValue = bool | int | float | str | list[str] | list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One process. Later parameters win: default_files, then `parameters`, then override_files."""

    package: str
    executable: str
    name: str
    module: str | None = None
    """What the local runner executes; None: only in a ROS installation."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    default_files: tuple[Path, ...] = ()
    override_files: tuple[Path, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    required: bool = True
    """The whole graph stops when this process ends unexpectedly."""
    starts_after: str | None = None
    """Starts when the process of this name has ended with success; if it fails, the graph stops (only in a ROS
    installation)."""
    terminal: bool = False
    """Reads keys of the terminal that the graph was started in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludeSpec:
    """Another package's launch file; it sees these arguments only."""

    package: str
    path: str
    """Below that package's share folder."""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Everything that runs."""

    nodes: tuple[NodeSpec, ...]
    includes: tuple[IncludeSpec, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of every process."""
    output_dir: Path
    """Folder of results and logs."""
    ends_with: str | None
    """The node whose exit ends the graph; None: runs until stopped."""
    notes: tuple[str, ...] = ()
    """Sentences for people, said at the start."""

    def node(self, name: str) -> NodeSpec:
        """Return the node of this name.

        Raises:
            KeyError: There is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def with_parameters(self, name: str, **parameters: ParameterValue) -> Graph:
        """Return the same graph, but these parameters of the node of this name have other values.

        Raises:
            KeyError: There is no such node.
        """
        changed = replace(self.node(name), parameters={**self.node(name).parameters, **parameters})
        return replace(self, nodes=tuple(changed if node.name == name else node for node in self.nodes))


def enclave(node_name: str) -> str:
    """Return the SROS2 enclave of a node of this project: a mere name where security is off (ROS_SECURITY_ENABLE)."""
    return f"/physgen/{node_name}"


def parameter_files(node: NodeSpec, own: Path) -> list[Path]:
    """Write the node's own parameters to `own` and return all its parameter files in loading order."""
    if not (node.parameters or node.default_files or node.override_files):
        return []
    own.write_text(parameter_yaml(node))
    return [*node.default_files, own, *node.override_files]


def parameter_yaml(node: NodeSpec) -> str:
    """Return the node's own parameters as the text of a ROS parameter file."""
    return yaml.safe_dump({node.name: {"ros__parameters": dict(node.parameters)}}, sort_keys=True)
