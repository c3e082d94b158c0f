# SPDX-License-Identifier: Apache-2.0
"""What a scene of LIBERO consists of: its movable things and fixtures, their moving parts, the regions of its goal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_JOINT_FREE = 0  # mujoco.mjtJoint.mjJNT_FREE; mujoco is not imported here


def things(env: Any) -> Iterator[tuple[str, Any]]:
    """Yield movable objects and fixtures that have a body of their own, each with its name."""
    yield from env.objects_dict.items()
    yield from env.fixtures_dict.items()


def moving_parts(env: Any) -> list[str]:
    """Return the bodies of drawers, doors and knobs: what hangs on a hinge or slide and is not the robot."""
    model = env.sim.model
    bodies = []
    for joint in range(model.njnt):
        name = model.body_id2name(model.jnt_bodyid[joint])
        if model.jnt_type[joint] != _JOINT_FREE and not name.startswith(("robot0", "gripper0")):
            bodies.append(name)
    return bodies


def goal_sites(env: Any) -> list[str]:
    """Return the regions that the goal's predicates name."""
    named = [word for predicate in env.parsed_problem["goal_state"] for word in predicate[1:]]
    return [name for name in dict.fromkeys(named) if name in env.object_sites_dict]
