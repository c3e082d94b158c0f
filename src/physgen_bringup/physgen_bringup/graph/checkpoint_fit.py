# SPDX-License-Identifier: Apache-2.0
"""Compares a checkpoint with the graph that is to run it, before any process starts and without loading a network."""

from __future__ import annotations

from pathlib import Path

from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.describe import build_graph
from physgen_control.errors import UserError


def check_fit(arguments: LaunchArguments, *, any_task: bool = False) -> None:
    """Refuse a checkpoint that was trained for another robot, rate, camera or task; other policies always fit.

    Args:
        arguments: What graph.checks.check_arguments returned: the checkpoint is a folder.
        any_task: The task need not be one that it was trained for.

    Raises:
        UserError: Everything that does not fit, in one sentence.
    """
    if arguments.policy != "physgen":
        return
    from physgen_policy.checkpoint import read_description
    from physgen_policy.contract.embodiment_check import GraphDescription, find_mismatches

    robot = str(build_graph(arguments).node("policy_node").parameters["robot"])
    graph = GraphDescription(control_period=0.05, task="" if any_task else arguments.task, robot=robot)
    embodiment = read_description(Path(arguments.checkpoint)).embodiment
    found = find_mismatches(embodiment, graph)
    if not found:
        return
    remedy = ""
    if not any_task and not find_mismatches(embodiment, GraphDescription(control_period=0.05, robot=robot)):
        remedy = "; evaluate it all the same with --any-task"
    raise UserError(f"the checkpoint {arguments.checkpoint} cannot be used here: {'; '.join(found)}{remedy}")
