# SPDX-License-Identifier: Apache-2.0
"""Which tasks an evaluation runs: a suite and names or patterns of its tasks."""

from __future__ import annotations

from fnmatch import fnmatchcase

from physgen_control.errors import UserError
from physgen_control.program.plugins import is_reference
from physgen_sim_bridge.registry import TABLE, check_task, find_world, simulator_of


def select_tasks(suite: str, patterns: str) -> tuple[str, list[str]]:
    """Return the simulator and its tasks, in the order of the suite.

    Args:
        suite: A simulator, or one of its suites: `libero_object` means the tasks `libero_object/*` of libero.
        patterns: Names or shell patterns, separated by commas; "all" for every task; "" for the simulator's first task,
            or for all tasks of a suite.

    Raises:
        UserError: No such suite, or a pattern that fits no task.
    """
    sim = simulator_of(suite)
    if sim not in TABLE.names() and not is_reference(sim):
        ours = [name for name in TABLE.names() if suite.startswith(f"{name}_")]
        known = f"the tasks of {ours[0]} are {find_world(ours[0]).describe_tasks()}" if ours else ""
        raise UserError(
            f"there is no suite {suite!r}; "
            + (known or f"choose one of {', '.join(TABLE.names())}, a suite of LIBERO, or write module:Class")
        )
    world = find_world(sim)
    known_tasks = world.task_names()
    prefix = f"{suite}/" if sim != suite else ""
    tasks = [t for t in known_tasks if t.startswith(prefix) and not world.runs_by_itself(t)]
    if not patterns:
        return sim, tasks if prefix else [world.default_task()]
    chosen: dict[str, None] = {}
    for pattern in patterns.split(","):
        name = pattern.strip()
        fitting = {t for t in tasks if name == "all" or fnmatchcase(t, name) or fnmatchcase(t, prefix + name)}
        # A task that cannot be evaluated here is refused by name later on, with its reason.
        fitting |= {name} & set(known_tasks)
        if is_reference(name):
            check_task(sim, name)
            fitting.add(name)
        if not fitting:
            raise UserError(f"no task of {suite} fits {name!r}; there are {', '.join(tasks)}")
        chosen |= dict.fromkeys(t for t in (*known_tasks, name) if t in fitting)
    order = {name: place for place, name in enumerate(known_tasks)}
    return sim, sorted(chosen, key=lambda name: order.get(name, len(order)))
