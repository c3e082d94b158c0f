# SPDX-License-Identifier: Apache-2.0
"""Who imports whom: between modules, and between the rooms (first-level modules and folders) of each package.

`python tools/physgen_checks/rooms.py` draws the picture in docs/architecture.md again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("physgen_control", "physgen_sim_bridge", "physgen_policy", "physgen_physworld", "physgen_bringup")
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: drawn by tools/physgen_checks/rooms.py -->", "<!-- end of rooms -->"
Graph = Mapping[str, set[str]]
"""From a name to the names that it imports."""


def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by dotted name."""
    source = ROOT / "src" / package
    found = {}
    for path in sorted((source / package).rglob("*.py")):
        name = ".".join(path.relative_to(source).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, also inside functions; names of a module included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_graph() -> dict[str, set[str]]:
    """Return which module of the packages imports which other one.

    Where a name below another one is imported, only the deeper one counts: a room's `__init__` is not meant then.
    """
    every = {name: path for package in PACKAGES for name, path in modules(package).items()}
    graph = {}
    for name, path in every.items():
        names = {other for other in imported(path) if other in every and other != name}
        graph[name] = {
            other for other in names if not any(deeper.startswith(f"{other}.") for deeper in names)
        }
    return graph


def room(module: str) -> str:
    """Return the room of a module: the first name below its package; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def room_graph(package: str, graph: Graph) -> dict[str, set[str]]:
    """Return which room of a package imports which other one."""
    rooms: dict[str, set[str]] = {}
    for module, others in graph.items():
        if module.split(".")[0] != package or not room(module):
            continue
        used = {room(other) for other in others if other.split(".")[0] == package and room(other)}
        rooms.setdefault(room(module), set()).update(used - {room(module)})
    return rooms


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of names that import each other in a circle (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in graph.get(name, ()):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            group = stack[stack.index(name) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def reach(graph: Graph, name: str) -> set[str]:
    """Return everything that a name imports, also by way of others; the graph has no circles."""
    found: set[str] = set()
    for other in graph.get(name, ()):
        found |= {other} | reach(graph, other)
    return found


def floors(graph: Graph) -> list[list[str]]:
    """Return the names in floors, the ground floor last: each imports only from floors below it."""
    height: dict[str, int] = {}

    def high(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((high(other) for other in graph.get(name, ())), default=-1)
        return height[name]

    top = max(map(high, graph), default=-1)
    return [sorted(name for name in graph if height[name] == level) for level in range(top, -1, -1)]


def drawing(graph: Graph) -> str:
    """Return floors of rooms, each with what it uses that nothing else which it uses already does."""
    lines = []
    for names in floors(graph):
        for name in names:
            others = graph[name]
            direct = sorted(
                other for other in others if not any(other in reach(graph, third) for third in others)
            )
            lines.append(f"{name:<18} {'-> ' + ', '.join(direct) if direct else ''}".rstrip())
        lines.append("")
    return "\n".join(lines).rstrip()


def section() -> str:
    """Return the page's section about rooms."""
    graph = module_graph()
    parts = [BEGIN, ""]
    for package in PACKAGES:
        parts += [f"### {package}", "", "```", drawing(room_graph(package, graph)), "```", ""]
    return "\n".join([*parts, END])


def drawn(text: str) -> str:
    """Return the page's text with its section drawn anew."""
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: section(), text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
