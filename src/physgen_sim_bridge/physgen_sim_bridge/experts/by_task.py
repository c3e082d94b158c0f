# SPDX-License-Identifier: Apache-2.0
"""Which expert a task has: the one of its simulator, ours from a table, or one of an installed package."""

from __future__ import annotations

from physgen_control.errors import UserError
from physgen_control.program.plugins import EXPERTS, PluginTable, construct
from physgen_sim_bridge.experts.cautious import CautiousExpert
from physgen_sim_bridge.experts.grasp import BRISK, PickExpert
from physgen_sim_bridge.experts.push import PushExpert
from physgen_sim_bridge.registry import find_world
from physgen_sim_bridge.world import Expert

_HERE = "physgen_sim_bridge.experts"
TABLE = PluginTable(
    group=EXPERTS,
    kind="expert",
    ours={
        "PushCube-v1": f"{_HERE}.push:PushExpert",
        "PickCube-v1": f"{_HERE}.grasp:PickExpert",
        "StackCube-v1": f"{_HERE}.grasp:StackExpert",
        "FakePush-v0": f"{_HERE}.push:PushExpert",
        "FakeReach-v0": f"{_HERE}.reach:ReachExpert",
        "FrankaPick-v0": f"{_HERE}.by_task:careful_pick",
        "FrankaPush-v0": f"{_HERE}.by_task:careful_push",
    },
)
"""Experts by the name of their task; a name stands for something that is called without arguments."""


def make_expert(sim: str, task: str) -> Expert:
    """Return the expert of a simulator's task.

    Raises:
        UserError: There is none, or it cannot be made.
    """
    own = find_world(sim).make_expert(task)
    if own is not None:
        return own
    if task not in TABLE.names():
        raise UserError(
            f"There is no scripted expert for the task {task!r}; there are experts for: "
            f"{', '.join(TABLE.names())} and most of LIBERO's."
        )
    expert: Expert = construct(TABLE.load(task), task, "expert")
    missing = [member for member in ("reset", "act") if not hasattr(expert, member)]
    if missing:
        raise UserError(f"the expert of {task} cannot be used: it has no {', '.join(missing)}")
    return expert


def careful_pick() -> Expert:
    """Return the expert that picks up a cube at the speed of a real arm."""
    return CautiousExpert(PickExpert(BRISK))


def careful_push() -> Expert:
    """Return the expert that pushes a cube at the speed of a real arm."""
    return CautiousExpert(PushExpert())
