# SPDX-License-Identifier: Apache-2.0
"""The one description of the graph: launch arguments in, nodes and includes as values out.

The launch file turns the values into launch_ros actions, the local runner into processes; neither adds
anything.
"""

from __future__ import annotations

from dataclasses import replace

from physgen_bringup.graph import our_nodes, real_arm
from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.spec import Graph, NodeSpec
from physgen_bringup.paths import config_file


def build_graph(arguments: LaunchArguments) -> Graph:
    """Return the graph for checked arguments (graph.checks.check_arguments)."""
    return _simulated_graph(arguments) if arguments.simulated else _real_graph(arguments)


def _simulated_graph(arguments: LaunchArguments) -> Graph:
    runners = our_nodes.episode_runners(arguments)
    teleop_ends = arguments.teleop in ("keyboard", "script")
    ends_with = f"{arguments.teleop}_teleop_node" if teleop_ends else None
    return Graph(
        # Who looks on is there before there is something to see, and stops last.
        nodes=(*our_nodes.viewers(arguments), our_nodes.world(arguments), *_acting(arguments), *runners),
        environment=_environment(),
        output_dir=arguments.output_dir,
        ends_with=runners[0].name if runners else ends_with,
    )


def _real_graph(arguments: LaunchArguments) -> Graph:
    acting = [replace(node, starts_after=real_arm.SPAWNER) for node in _acting(arguments)]
    return Graph(
        nodes=(*our_nodes.viewers(arguments), *real_arm.nodes(arguments), *acting),
        includes=real_arm.includes(arguments),
        environment=_environment(),
        output_dir=arguments.output_dir,
        ends_with=None,
        notes=_notes(arguments),
    )


def _acting(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return what acts on the arm or watches it, in the order of starting.

    The arm's controller first, then what commands it: the policy's chunks need both. Nodes stop in reverse order:
    first what commands, last the world; the recorder sees the policy's end.
    """
    return (
        *our_nodes.motion_monitors(arguments),
        our_nodes.controller(arguments),
        *our_nodes.recorders(arguments),
        *our_nodes.policies(arguments),
        *our_nodes.teleoperations(arguments),
        *our_nodes.rollouts(arguments),
    )


def _notes(arguments: LaunchArguments) -> tuple[str, ...]:
    """Return what a person at the real arm should know before it moves."""
    notes = []
    who = "you" if arguments.policy == "none" else "the policy"
    if not arguments.use_fake_hardware:
        notes.append(
            "The arm is in SHADOW: nothing moves before you start with mode:=armed and call /physgen/set_armed."
            if arguments.mode == "shadow"
            else f"Call /physgen/set_armed to let {who} move the arm; keep the user stop in your hand."
        )
    if not (arguments.fixed_camera_serial and arguments.wrist_camera_serial):
        notes.append(
            "Camera serial numbers are missing: with two cameras connected, either may become the fixed "
            "one; set fixed_camera_serial and wrist_camera_serial."
        )
    return tuple(notes)


def _environment() -> dict[str, str]:
    # Both names: Fast DDS 2.x reads the first, 3.x the second.
    profile = str(config_file("fastdds.xml"))
    return {"FASTRTPS_DEFAULT_PROFILES_FILE": profile, "FASTDDS_DEFAULT_PROFILES_FILE": profile}
