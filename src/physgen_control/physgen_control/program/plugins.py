# SPDX-License-Identifier: Apache-2.0
"""Finds policies, worlds, tasks and experts by name: ours from a table, others by entry point or `module:Name`.

A package adds its own by an entry point (Python's importlib.metadata) in one of the groups named below; without any
package, `module:Name` and `path/to/file.py:Name` work everywhere where a name does. Modules are also looked for in the
current folder.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from physgen_control.errors import UserError

POLICIES, WORLDS, EXPERTS = "physgen.policies", "physgen.worlds", "physgen.experts"
"""Groups of entry points: classes of policies, classes of worlds, and experts by the name of their task."""


class PluginError(UserError):
    """What was named cannot be found, imported or used; one sentence that says why."""


def is_reference(name: str) -> bool:
    """Return whether a name says itself where its object lies: `module:Name` or `path/to/file.py:Name`."""
    return ":" in name


def entry_names(group: str) -> tuple[str, ...]:
    """Return the names that installed packages add to a group, sorted; nothing is imported."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginTable:
    """One kind of things that people can add to.

    Attributes:
        group: The group of entry points.
        kind: What one of them is, for sentences: "simulated world".
        ours: References `module:Name` of our own by name. They win over entry points of the same name.
        members: What the object must have.
    """

    group: str
    kind: str
    ours: Mapping[str, str]
    members: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return all names: ours, then those of installed packages."""
        return tuple(dict.fromkeys((*self.ours, *entry_names(self.group))))

    def load(self, name: str) -> Any:
        """Return the object of a name or reference.

        Raises:
            PluginError: There is none, it cannot be imported, or it lacks a member.
        """
        reference = name if is_reference(name) else self.ours.get(name) or self._entry(name)
        found = load_reference(reference, self.kind)
        missing = [member for member in self.members if not hasattr(found, member)]
        missing += sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise PluginError(
                f"{reference} cannot be used as a {self.kind}: it has no {', '.join(dict.fromkeys(missing))}"
            )
        return found

    def _entry(self, name: str) -> str:
        for entry in entry_points(group=self.group):
            if entry.name == name:
                return entry.value
        close = difflib.get_close_matches(name, self.names(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise PluginError(
            f"there is no {self.kind} {name!r}{hint}; choose of {', '.join(self.names())}, or write module:Name"
        )


def load_reference(reference: str, kind: str) -> Any:
    """Return what `module:Name` or `path/to/file.py:Name` names.

    Args:
        reference: The module's dotted name or file, a colon, and the name of an object in it.
        kind: What it is to be, for the sentence of an error.

    Raises:
        PluginError: No such module, file or name, or the module fails while it is imported.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise PluginError(f"{reference!r} names no {kind}; write module:Name or path/to/file.py:Name")
    module = _module_of_file(Path(place), reference) if place.endswith(".py") else _module(place, reference)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise PluginError(
                f"{place} has no {name!r}, which {reference} names as a {kind}; correct the name"
            )
        found = getattr(found, part)
    return found


def construct(factory: Any, reference: str, kind: str) -> Any:
    """Call a class or function that takes no arguments, and return what it makes.

    Raises:
        PluginError: It cannot be called without arguments, or it fails.
        UserError: It refuses by itself, with a sentence of its own.
    """
    check_constructor(factory, reference, kind)
    try:
        return factory()
    except UserError:
        raise
    except Exception as error:  # (foreign code may raise anything)
        raise PluginError(
            f"the {kind} {reference} could not be made: {type(error).__name__}: {error}"
        ) from error


def check_constructor(factory: Any, reference: str, kind: str, *, arguments: int = 0) -> None:
    """Check that something can be called with so many arguments.

    Raises:
        PluginError: It cannot.
    """
    if not callable(factory):
        raise PluginError(f"{reference} is no class or function, so that it makes no {kind}")
    try:
        inspect.signature(factory).bind(*[None] * arguments)
    except TypeError as error:
        number = f"{arguments} argument{'s' * (arguments > 1)}" if arguments else "arguments"
        raise PluginError(
            f"the {kind} {reference} must be made with{'' if arguments else 'out'} {number}, but it needs "
            f"{'others' if arguments else 'some'} ({error}); give them defaults"
        ) from error
    except ValueError:
        pass  # a class written in C has no signature to look at


def _module(name: str, reference: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise PluginError(
                f"there is no module {error.name!r}, which {reference} names; install it, write "
                "path/to/file.py:Name, or run the command in its folder"
            ) from error
        raise _broken(reference, error) from error
    except Exception as error:
        raise _broken(reference, error) from error


def _module_of_file(path: Path, reference: str) -> ModuleType:
    """Import a file as a module of its own name, once per file; what lies beside it can be imported by it.

    Raises:
        PluginError: There is no such file, or it fails while it is imported.
    """  # noqa: DOC501  # _broken makes a PluginError
    file = path.expanduser().resolve()
    if not file.is_file():
        raise PluginError(f"there is no file {file}, which {reference} names; correct the path")
    name = f"{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _broken(reference, error) from error
    return module


def _broken(reference: str, error: Exception) -> PluginError:
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return PluginError(f"{reference} cannot be imported: {what}")
