# SPDX-License-Identifier: Apache-2.0
"""Which expert a task has."""

from __future__ import annotations

from physgen_control.errors import UserError
from physgen_sim_bridge.experts.cautious import CautiousExpert
from physgen_sim_bridge.experts.expert import Expert
from physgen_sim_bridge.experts.grasp import BRISK, PickExpert, StackExpert
from physgen_sim_bridge.experts.push import PushExpert
from physgen_sim_bridge.experts.reach import ReachExpert
from physgen_sim_bridge.libero.experts import make_libero_expert
from physgen_sim_bridge.libero.tasks import libero_tasks


def make_expert(task: str) -> Expert:
    """Return the expert of a task."""
    match task:
        case "PushCube-v1" | "FakePush-v0":
            return PushExpert()
        case "PickCube-v1":
            return PickExpert()
        case "StackCube-v1":
            return StackExpert()
        case "FakeReach-v0":
            return ReachExpert()
        case "FrankaPick-v0":
            return CautiousExpert(PickExpert(BRISK))
        case "FrankaPush-v0":
            return CautiousExpert(PushExpert())
    if task in libero_tasks():
        return make_libero_expert(task)
    raise UserError(
        f"There is no scripted expert for the task {task!r}; there are experts for: "
        "PushCube-v1, PickCube-v1, StackCube-v1, FakePush-v0, FakeReach-v0, FrankaPick-v0, FrankaPush-v0 "
        "and most of LIBERO's."
    )
