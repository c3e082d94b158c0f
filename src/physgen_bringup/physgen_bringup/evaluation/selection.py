# SPDX-License-Identifier: Apache-2.0
"""Which tasks an evaluation runs: a suite and names or patterns of its tasks."""

from __future__ import annotations

from fnmatch import fnmatchcase

from physgen_bringup.graph.arguments import DEFAULT_TASKS
from physgen_control.errors import UserError
from physgen_sim_bridge.registry import known_tasks, runs_by_itself

SIMS = ("maniskill", "libero", "fake")


def select_tasks(suite: str, patterns: str) -> tuple[str, list[str]]:
    """Return the simulator and its tasks, in the order of the suite.

    Args:
        suite: A simulator, or one of its suites: `libero_object` means the tasks `libero_object/*` of libero.
        patterns: Names or shell patterns, separated by commas; "all" for every task; "" for the simulator's first task,
            or for all tasks of a suite.

    Raises:
        UserError: No such suite, or a pattern that fits no task.
    """
    sim, _, rest = suite.partition("_")
    prefix = f"{suite}/" if rest else ""
    if sim not in SIMS:
        raise UserError(f"there is no suite {suite!r}; choose one of {', '.join(SIMS)} or a suite of LIBERO")
    tasks = [t for t in known_tasks(sim) if t.startswith(prefix) and not runs_by_itself(sim, t)]
    if not tasks:
        raise UserError(f"there is no suite {suite!r}; the tasks of {sim} are {', '.join(known_tasks(sim))}")
    if not patterns:
        return sim, tasks if prefix else [DEFAULT_TASKS[sim]]
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        name = pattern.strip()
        fitting = {t for t in tasks if name == "all" or fnmatchcase(t, name) or fnmatchcase(t, prefix + name)}
        # A task that cannot be evaluated here is refused by name later on, with its reason.
        fitting |= {name} & set(known_tasks(sim))
        if not fitting:
            raise UserError(f"no task of {suite} fits {name!r}; there are {', '.join(tasks)}")
        chosen |= fitting
    return sim, [t for t in known_tasks(sim) if t in chosen]
