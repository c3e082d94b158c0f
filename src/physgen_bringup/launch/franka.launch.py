# SPDX-License-Identifier: Apache-2.0
"""Turns the graph description of physgen_bringup.graph.describe into launch_ros actions and adds nothing."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from physgen_bringup.graph.arguments import ARGUMENTS, arguments_from
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import chosen_domain, refuse_second_graph
from physgen_bringup.graph.spec import Graph, IncludeSpec, NodeSpec, enclave, parameter_files
from physgen_control.messages import graph_identity


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
    refuse_second_graph(chosen_domain(os.environ) or 0, graph.environment)
    entities: list[LaunchDescriptionEntity] = [LogInfo(msg=note) for note in graph.notes]
    entities.append(SetEnvironmentVariable(graph_identity.VARIABLE, graph_identity.new_graph()))
    # A user's own DDS profile wins, as for two machines.
    entities += [
        SetEnvironmentVariable(name, value)
        for name, value in graph.environment.items()
        if name not in os.environ
    ]
    entities += [_include(include) for include in graph.includes]
    folder = graph.output_dir / "parameters"
    folder.mkdir(parents=True, exist_ok=True)
    started = {spec.name: _node(spec, graph, folder) for spec in graph.nodes}
    for spec in graph.nodes:
        if spec.starts_after is None:
            entities += started[spec.name]
    for first in dict.fromkeys(spec.starts_after for spec in graph.nodes if spec.starts_after):
        later = [
            entity for spec in graph.nodes if spec.starts_after == first for entity in started[spec.name]
        ]
        entities.append(_after(first, started[first][0], later))
    if graph.includes:
        ours = [entity for node in started.values() for entity in node[:1]]
        entities.append(RegisterEventHandler(OnProcessExit(on_exit=partial(_report_driver, ours))))
    return entities


def _after(name: str, process: Node, later: list[LaunchDescriptionEntity]) -> RegisterEventHandler:
    """Start the others when a process has ended with success; stop the graph when it failed."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown or event.returncode == 0:
            return [] if context.is_shutdown else later
        reason = f"{name} failed with status {event.returncode}: is the robot reachable and FCI active?"
        return [LogInfo(msg=reason), EmitEvent(event=Shutdown(reason=reason))]

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=on_exit))


def _report_driver(
    ours: list[LaunchDescriptionEntity], event: ProcessExited, context: LaunchContext
) -> list[LaunchDescriptionEntity]:
    """Say that a driver died; the controller holds by itself, because its states or chunks end."""
    if context.is_shutdown or event.action in ours:
        return []
    return [
        LogInfo(
            msg=f"{event.process_name} ended with status {event.returncode}: without this driver the controller "
            "holds; restart the launch file."
        )
    ]


def _include(include: IncludeSpec) -> GroupAction:
    """Include in a scope of its own: neither our arguments nor another include's reach it."""
    path = Path(get_package_share_directory(include.package)) / include.path
    source = PythonLaunchDescriptionSource(str(path))
    action = IncludeLaunchDescription(source, launch_arguments=list(include.arguments.items()))
    return GroupAction([action], scoped=True, forwarding=False)


def _node(spec: NodeSpec, graph: Graph, folder: Path) -> list[LaunchDescriptionEntity]:
    node = Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        parameters=[str(path) for path in parameter_files(spec, folder / f"{spec.name}.yaml")],
        remappings=list(spec.remappings),
        arguments=list(spec.arguments),
        ros_arguments=["--enclave", enclave(spec.name)] if spec.module else [],
        output="screen",
    )
    if not (spec.required or spec.name == graph.ends_with):
        return [node]
    stop = EmitEvent(event=Shutdown(reason=f"{spec.name} ended"))
    return [node, RegisterEventHandler(OnProcessExit(target_action=node, on_exit=[stop]))]
