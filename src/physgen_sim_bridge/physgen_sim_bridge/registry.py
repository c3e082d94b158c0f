# SPDX-License-Identifier: Apache-2.0
"""The list of worlds and how to make one from its name; simulators are imported only when chosen."""

from __future__ import annotations

from physgen_control.errors import UserError
from physgen_sim_bridge.fake.world import FAKE_TASKS, FakeWorld
from physgen_sim_bridge.fake_franka.table import TASKS as FRANKA_TASKS
from physgen_sim_bridge.libero.tasks import STEP_LIMITS, libero_tasks
from physgen_sim_bridge.maniskill.world import TASKS as MANISKILL_TASKS
from physgen_sim_bridge.maniskill.world import ManiSkillWorld
from physgen_sim_bridge.remote_world import RemoteWorld
from physgen_sim_bridge.world import World

MIN_IMAGE_SIZE = 16
MAX_IMAGE_SIZE = 1024


class UnknownTaskError(UserError):
    """The simulator or the task does not exist; the text lists those that do."""


def known_tasks(sim: str) -> tuple[str, ...]:
    """Return the tasks of a simulator, or raise UnknownTaskError if there is no such simulator."""
    match sim:
        case "maniskill":
            return tuple(MANISKILL_TASKS)
        case "libero":
            return tuple(libero_tasks())
        case "fake":
            return (*FAKE_TASKS, *FRANKA_TASKS)
    raise UnknownTaskError(f"There is no simulator {sim!r}; choose one of: maniskill, libero, fake.")


def resolve_suite(suite: str, task: str) -> tuple[str, str]:
    """Return (simulator, task) for what people write: a suite of LIBERO is a simulator with its first half of a task.

    resolve_suite("libero_object", "3") and resolve_suite("libero", "libero_object/3") are the same.
    """
    if suite in STEP_LIMITS:
        return "libero", task if "/" in task else f"{suite}/{task or 0}"
    return suite, task


def check_task(sim: str, task: str, image_size: int = 128) -> None:
    """Raise UnknownTaskError or UserError with one sentence if make_world would not know what to do."""
    tasks = known_tasks(sim)
    if task not in tasks:
        names = (
            [
                f"{suite}/0 to {suite}/{sum(name.startswith(f'{suite}/') for name in tasks) - 1}"
                for suite in STEP_LIMITS
            ]
            if sim == "libero"
            else tasks
        )
        raise UnknownTaskError(
            f"The simulator {sim} has no task {task!r}; choose one of: {', '.join(names)}."
        )
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise UserError(
            f"image_size must be {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels, but it is {image_size}."
        )


def instructions(sim: str, task: str) -> tuple[str, ...]:
    """What the tasks of a task's suite tell a policy to do, this one's among them; a suite of LIBERO is one of them."""
    if sim == "maniskill":
        return tuple(entry.instruction for entry in MANISKILL_TASKS.values())
    if sim == "libero":
        suite = task.partition("/")[0]
        return tuple(entry.instruction for entry in libero_tasks().values() if entry.suite == suite)
    return tuple(entry.instruction for entry in FAKE_TASKS.values())


def runs_by_itself(sim: str, task: str) -> bool:
    """Say whether the task belongs to the fake Franka: an arm with its own clock, which cannot be stepped."""
    return sim == "fake" and task in FRANKA_TASKS


def make_world(
    sim: str, task: str, *, image_size: int = 128, render: bool = True, in_worker: bool = False
) -> World:
    """Make a world; in_worker=True runs it in its own process, so that its crash is an error and not an exit."""
    check_task(sim, task, image_size)
    if in_worker:
        return RemoteWorld(sim, task, image_size=image_size, render=render)
    if sim == "maniskill":
        return ManiSkillWorld(task, image_size=image_size, render=render)
    if sim == "libero":
        from physgen_sim_bridge.libero.world import LiberoWorld

        return LiberoWorld(task, image_size=image_size, render=render)
    return FakeWorld(task, image_size=image_size, render=render)
