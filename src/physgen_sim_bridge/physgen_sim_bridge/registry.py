# SPDX-License-Identifier: Apache-2.0
"""The table of worlds and how to make one from its name; simulators are imported only when chosen."""

from __future__ import annotations

import importlib.util
import inspect

from physgen_control.errors import UserError
from physgen_control.program.plugins import WORLDS, PluginError, PluginTable, is_reference
from physgen_sim_bridge.remote_world import RemoteWorld
from physgen_sim_bridge.world import FixedCamera, World

MIN_IMAGE_SIZE = 16
MAX_IMAGE_SIZE = 1024

TABLE = PluginTable(
    group=WORLDS,
    kind="simulator",
    ours={
        "maniskill": "physgen_sim_bridge.maniskill.world:ManiSkillWorld",
        "libero": "physgen_sim_bridge.libero.world:LiberoWorld",
        "fake": "physgen_sim_bridge.fake.world:FakeWorld",
    },
)


class UnknownTaskError(UserError):
    """The simulator or the task does not exist; the text lists those that do."""


def find_world(sim: str) -> type[World]:
    """Return the class of a simulator's worlds: ours, an installed package's, or that of `module:Class`.

    Raises:
        UnknownTaskError: There is no such simulator.
        PluginError: It is somebody else's and cannot be imported, or is no subclass of World.
    """
    if sim not in TABLE.names() and not is_reference(sim):
        raise UnknownTaskError(
            f"There is no simulator {sim!r}; choose one of: {', '.join(TABLE.names())}, or write module:Class."
        )
    found = TABLE.load(sim)
    if not inspect.isclass(found) or not issubclass(found, World):
        raise PluginError(f"{sim} is no simulator: it must be a subclass of physgen_sim_bridge.world.World")
    if not found.task_names():
        raise PluginError(f"{sim} has no tasks; give its class a mapping `tasks` of names to what they are")
    return found


def known_tasks(sim: str) -> tuple[str, ...]:
    """Return the tasks of a simulator.

    Raises:
        UnknownTaskError: There is no such simulator.
    """
    return find_world(sim).task_names()


def resolve_suite(suite: str, task: str) -> tuple[str, str]:
    """Return (simulator, task) for what people write: a suite is a simulator with its first half of a task.

    resolve_suite("libero_object", "3") and resolve_suite("libero", "libero_object/3") are the same.
    """
    sim = simulator_of(suite)
    if sim != suite:
        return sim, task if "/" in task else f"{suite}/{task or 0}"
    return suite, task


def simulator_of(suite: str) -> str:
    """Return the simulator of a suite such as libero_object; any other name is returned as it is."""
    for sim in TABLE.ours:
        if suite.startswith(f"{sim}_") and suite in find_world(sim).suites():
            return sim
    return suite


def check_task(sim: str, task: str, image_size: int = 128) -> None:
    """Check that make_world would know what to do.

    Raises:
        UnknownTaskError: There is no such simulator or task.
        UserError: The image size cannot be.
    """
    world = find_world(sim)
    if not world.has_task(task):
        raise UnknownTaskError(
            f"The simulator {sim} has no task {task!r}; choose one of: {world.describe_tasks()}."
        )
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise UserError(
            f"image_size must be {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels, but it is {image_size}."
        )


def instructions(sim: str, task: str) -> tuple[str, ...]:
    """Return what the tasks of a task's suite tell a policy to do, this one's among them, as far as they are known.

    A suite of LIBERO is a suite, any other simulator is one.
    """
    world = find_world(sim)
    suite = task.rpartition("/")[0]
    names = [n for n in world.task_names() if n.rpartition("/")[0] == suite and not world.runs_by_itself(n)]
    found = (getattr(world.find_task(name), "instruction", "") for name in names)
    return tuple(text for text in found if text)


def missing_package(sim: str) -> str:
    """Return the Python package that the simulator needs and that is not installed; "" where nothing is missing."""
    package = find_world(sim).package
    return package if package and importlib.util.find_spec(package) is None else ""


def runs_by_itself(sim: str, task: str) -> bool:
    """Return whether the task's arm has a clock of its own and cannot be stepped, as the fake Franka has."""
    return find_world(sim).runs_by_itself(task)


def fixed_camera(sim: str, task: str) -> FixedCamera | None:
    """Return where the fixed camera of a task stands, without starting its simulator; None where that is not known.

    LIBERO places it as its scene files say, which are read by the simulator alone.
    """
    try:
        world = find_world(sim)
    except (
        UserError
    ):  # the real arm, or a simulator that this machine lacks: recordings of both are looked at
        return None
    return world.fixed_camera(task) if world.has_task(task) else None


def make_world(
    sim: str, task: str, *, image_size: int = 128, render: bool = True, in_worker: bool = False
) -> World:
    """Make a world.

    Args:
        sim: Simulator.
        task: Task of the simulator.
        image_size: Edge of both square images [pixels].
        render: False: images are black.
        in_worker: Run it in a process of its own, so that its crash is an error and not an exit.

    Raises:
        UserError: Something of it cannot be, or the simulator is not installed.
    """
    check_task(sim, task, image_size)
    if in_worker:
        return RemoteWorld(sim, task, image_size=image_size, render=render)
    return find_world(sim)(task, image_size=image_size, render=render)
