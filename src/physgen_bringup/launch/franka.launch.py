# SPDX-License-Identifier: Apache-2.0
"""Turns the graph description of physgen_bringup.graph into launch_ros actions and adds nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from physgen_bringup.graph import Graph, IncludeSpec, NodeSpec, build_graph, parameter_files
from physgen_bringup.launch_arguments import ARGUMENTS, arguments_from, check_arguments


def generate_launch_description() -> LaunchDescription:
    """Declare the argument table and build the graph when the values are known."""
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.help + (f" ({' | '.join(argument.choices)})" if argument.choices else ""),
        )
        for argument in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    arguments = arguments_from({a.name: context.launch_configurations.get(a.name, "") for a in ARGUMENTS})
    graph = build_graph(check_arguments(arguments))
    entities: list[LaunchDescriptionEntity] = [LogInfo(msg=note) for note in graph.notes]
    entities += [SetEnvironmentVariable(name, value) for name, value in graph.environment.items()]
    entities += [_include(include) for include in graph.includes]
    folder = Path(tempfile.mkdtemp(prefix="physgen_parameters_"))
    for spec in graph.nodes:
        entities += _node(spec, graph, folder)
    return entities


def _include(include: IncludeSpec) -> IncludeLaunchDescription:
    path = Path(get_package_share_directory(include.package)) / include.path
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(path)), launch_arguments=list(include.arguments.items())
    )


def _node(spec: NodeSpec, graph: Graph, folder: Path) -> list[LaunchDescriptionEntity]:
    node = Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        parameters=[str(path) for path in parameter_files(spec, folder / f"{spec.name}.yaml")],
        remappings=list(spec.remappings),
        arguments=list(spec.arguments),
        output="screen",
    )
    if not (spec.required or spec.name == graph.ends_with):
        return [node]
    stop = EmitEvent(event=Shutdown(reason=f"{spec.name} ended"))
    return [node, RegisterEventHandler(OnProcessExit(target_action=node, on_exit=[stop]))]
