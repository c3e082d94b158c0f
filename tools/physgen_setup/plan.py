# SPDX-License-Identifier: Apache-2.0
"""The steps of set-up in order, and the loop that runs those whose stamp is missing or out of date."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from physgen_setup import lavapipe, python_env, system_packages, workspace
from physgen_setup.environment import runtime_environment
from physgen_setup.errors import SetupError
from physgen_setup.extras import EXTRAS, OWN_FOLDERS
from physgen_setup.layout import Layout
from physgen_setup.shell import Console, Shell
from physgen_setup.stamps import StampFolder, digest, source_files

# Measured: 2.3 GB of environment with the CPU build of torch, and as much again while pip unpacks.
NEEDED_BYTES = 5_000_000_000
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step: done when its stamp holds `key`, which digests everything its result depends on."""

    name: str
    title: str
    key: str
    action: Callable[[Shell], None]


class StepFailedError(Exception):
    """A step failed; carries what the user is told."""

    def __init__(self, position: int, step: Step, cause: SetupError, log_tail: str) -> None:
        super().__init__(cause.sentence)
        self.position = position
        self.step = step
        self.cause = cause
        self.log_tail = log_tail


def _with_room(layout: Layout, shell: Shell) -> None:
    free = shutil.disk_usage(layout.home).free
    if free < NEEDED_BYTES:
        raise SetupError(
            f"{layout.home} has {free / 1e9:.1f} GB free, {NEEDED_BYTES / 1e9:.0f} GB are needed.",
            "Free some space, or set PHYSGEN_HOME to a folder on a larger disk.",
        )
    python_env.create_environment(layout, shell)


def _install_extra(layout: Layout, shell: Shell, extra: str) -> None:
    if extra in OWN_FOLDERS:
        python_env.install_into_folder(layout, shell, extra, layout.own_folder(OWN_FOLDERS[extra]))
    else:
        python_env.install_lock(layout, shell, extra)


def plan(layout: Layout, extras: Collection[str]) -> list[Step]:
    """Return the steps for the base and the given extras; a later step's key contains those it builds upon."""
    os_release = Path("/etc/os-release")
    system = digest([_HERE / "system_packages.py", *([os_release] if os_release.is_file() else [])])
    vulkan = digest([_HERE / "lavapipe.py"], [system, str(layout.home)])
    environment = digest(words=python_env.environment_key_words(layout))
    base = digest([layout.lock("base"), _HERE / "python_env.py"], [environment])
    torch = digest(words=[environment, python_env.torch_version(layout)])
    sources = source_files(layout.root / "src" / "physgen_msgs")
    messages = digest([*sources, _HERE / "cmake_paths.py", _HERE / "workspace.py"], [base])

    steps = [
        Step(
            name="system",
            title="system libraries",
            key=system,
            action=lambda shell: system_packages.install_missing(shell, libero=False),
        ),
        Step(
            name="lavapipe",
            title="software Vulkan driver",
            key=vulkan,
            action=lambda shell: lavapipe.install_lavapipe(layout, shell),
        ),
        Step(
            name="environment",
            title="Python environment",
            key=environment,
            action=lambda shell: _with_room(layout, shell),
        ),
        Step(
            name="packages",
            title="Python packages and ROS 2 wheels",
            key=base,
            action=lambda shell: python_env.install_lock(layout, shell, "base"),
        ),
        # After the packages: what torch needs is there, in the versions of the lock.
        Step(
            name="torch",
            title="torch",
            key=torch,
            action=lambda shell: python_env.install_torch(layout, shell),
        ),
        Step(
            name="messages",
            title="physgen_msgs (colcon)",
            key=messages,
            action=lambda shell: workspace.build_messages(layout, shell),
        ),
        Step(
            name="check",
            title="first import of everything",
            key=digest(words=[messages, torch, vulkan]),
            action=lambda shell: workspace.check_imports(
                layout, shell, runtime_environment(layout, os.environ)
            ),
        ),
    ]
    if "libero" in extras:
        steps.append(
            Step(
                name="libero-system",
                title="system libraries of LIBERO",
                key=digest(words=[system, "libero"]),
                action=lambda shell: system_packages.install_missing(shell, libero=True),
            )
        )
    steps += [
        Step(
            name=extra,
            title=EXTRAS[extra],
            key=digest([layout.lock(extra)], [base]),
            action=lambda shell, extra=extra: _install_extra(layout, shell, extra),  # type: ignore[misc]
        )
        for extra in sorted(extras)
    ]
    return steps


def is_ready(layout: Layout, extras: Collection[str]) -> bool:
    """Return whether nothing is left to do."""
    stamps = StampFolder(layout.stamps)
    return layout.python.exists() and all(
        stamps.matches(step.name, step.key) for step in plan(layout, extras)
    )


@contextmanager
def _alone(layout: Layout, console: Console) -> Iterator[None]:
    """Hold the state folder's lock: two set-ups at once wait for each other."""
    layout.home.mkdir(parents=True, exist_ok=True)
    (layout.home / "COLCON_IGNORE").touch()
    with (layout.home / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("another set-up of this checkout is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_plan(layout: Layout, extras: Collection[str], console: Console) -> int:
    """Run the steps that are not done; return how many ran.

    Raises:
        StepFailedError: A step failed; the finished ones keep their stamps.
    """
    with _alone(layout, console):
        stamps = StampFolder(layout.stamps)
        if not layout.python.exists():
            # Everything below the environment is gone with it.
            stamps.clear("environment")
        steps = plan(layout, extras)
        todo = [step for step in steps if not stamps.matches(step.name, step.key)]
        if not todo:
            return 0
        shell = Shell(layout.logs / f"setup-{time.strftime('%Y%m%d-%H%M%S')}.log", console)
        console.say(f"physgen set-up into {layout.home} (log: {shell.log})")
        renewed = False
        count = 0
        for position, step in enumerate(steps, start=1):
            # A new environment is empty whatever the later stamps say.
            if stamps.matches(step.name, step.key) and not (
                renewed and step.name not in {"system", "lavapipe"}
            ):
                continue
            console.begin(f"[{position}/{len(steps)}] {step.title}")
            shell.note(f"step {position}/{len(steps)}: {step.title}")
            stamps.clear(step.name)
            try:
                step.action(shell)
            except SetupError as error:
                console.end("failed")
                raise StepFailedError(position, step, error, shell.tail()) from error
            except BaseException:
                console.end("interrupted")
                raise
            stamps.mark(step.name, step.key)
            console.end()
            renewed = renewed or step.name == "environment"
            count += 1
        return count
