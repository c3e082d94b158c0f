# SPDX-License-Identifier: Apache-2.0
"""Import rules of the workspace, read from the source: what may know ROS, torch and which sibling."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from physgen_checks import rooms
from physgen_setup.layout import PYTHON_PACKAGES

SOURCE = Path(__file__).resolve().parents[2]
# Who may import whom.
SIBLINGS = {
    "physgen_control": set(),
    "physgen_sim_bridge": {"physgen_control"},
    "physgen_policy": {"physgen_control"},
    "physgen_physworld": {"physgen_control", "physgen_sim_bridge", "physgen_policy"},
    "physgen_bringup": {"physgen_control", "physgen_sim_bridge", "physgen_policy", "physgen_physworld"},
}
TORCH = {"torch", "transformers", "diffusers", "peft", "accelerate", "stable_baselines3"}
# ManiSkill speaks torch tensors and has one thread knob that only torch offers.
# The residual of physworld trains with stable-baselines3: docs/decisions/0009-torch-in-residual.md.
TORCH_ALLOWED = {
    "physgen_sim_bridge/maniskill/simulator.py": {"torch"},
    "physgen_physworld/residual/training.py": {"torch", "stable_baselines3"},
}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
UNPICKLING_CALLS = {"torch.load", "numpy.load", "np.load"}
MOST_LINES = 350
MOST_ROOMS = 14


def modules(package: str) -> list[Path]:
    return sorted((SOURCE / package / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every imported module's full name with its line, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_ros(top: str) -> bool:
    return top in {"rclpy", "cv_bridge", "message_filters", "launch", "launch_ros"} or top.endswith("_msgs")


def offences(package: str, is_offence: Callable[[Path, str, str], bool]) -> list[str]:
    found = []
    for path in modules(package):
        where = path.relative_to(SOURCE / package)
        found += [
            f"{where}:{line}: {name}"
            for name, line in imports(path)
            if is_offence(where, name.partition(".")[0], name)
        ]
    return found


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_ros_is_imported_in_nodes_only(package: str) -> None:
    """The numerical cores run and are tested without ROS."""
    assert offences(package, lambda where, top, _: is_ros(top) and "nodes" not in where.parts) == []


@pytest.mark.parametrize("package", [name for name in PYTHON_PACKAGES if name != "physgen_policy"])
def test_torch_is_imported_in_the_policy_only(package: str) -> None:
    """Nothing between the policy and the arm may depend on torch."""

    def offends(where: Path, top: str, _name: str) -> bool:
        return top in TORCH - TORCH_ALLOWED.get(str(where), set())

    assert offences(package, offends) == []


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_packages_know_only_the_siblings_below_them(package: str) -> None:
    allowed = SIBLINGS[package] | {package, "physgen_msgs"}
    assert offences(package, lambda _, top, __: top.startswith("physgen_") and top not in allowed) == []


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_only_nodes_import_nodes(package: str) -> None:
    """A core that imports a node module would pull ROS in through the back door."""

    def offends(where: Path, _top: str, name: str) -> bool:
        return "nodes" in name.split(".") and name.startswith("physgen_") and "nodes" not in where.parts

    assert offences(package, offends) == []


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_nothing_is_unpickled(package: str) -> None:
    """Loading a pickle runs whatever code its author put in: weights are safetensors."""
    found = offences(package, lambda _, top, __: top in PICKLES)
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            allows = keywords.get("allow_pickle")
            # numpy.load refuses pickles unless told otherwise; torch.load has no safe form here.
            unsafe_numpy = isinstance(allows, ast.Constant) and allows.value is True
            if dotted(node.func) == "torch.load" or (dotted(node.func) in UNPICKLING_CALLS and unsafe_numpy):
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {dotted(node.func)}")
    assert found == []


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_every_file_says_its_licence_and_what_it_owns(package: str) -> None:
    for path in modules(package):
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            continue
        assert text.startswith(("# SPDX-License-Identifier: Apache-2.0", "#!")), path
        assert ast.get_docstring(ast.parse(text)), f"{path} has no module docstring"
        assert len(text.splitlines()) <= MOST_LINES, f"{path} is too long to find one's way in"


def documented(package: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef, str]]:
    """Yield (place, definition, docstring) of every class and function that has one."""
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(SOURCE / package)}:{node.lineno}: {node.name}", node, text


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_docstrings_are_sentences_that_stand_alone(package: str) -> None:
    """One word says nothing, and "see above" sends a reader away."""
    found = [
        where
        for where, _, text in documented(package)
        if len(text.split()) < 3 or re.search(r"\b(likewise|see above|as above|ditto)\b", text, re.IGNORECASE)
    ]
    assert found == []


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_a_field_is_described_in_a_line_of_its_own(package: str) -> None:
    """Below the field or in the section `Attributes`, never in a paragraph with the others."""
    found = []
    for where, node, text in documented(package):
        fields = [
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
        before = re.split(r"\n(?:Args|Attributes):", text)[0]
        listed = [name for name in fields if re.search(rf"(?:^|[.;,]\s+|\n\s*){name}: ", before)]
        if isinstance(node, ast.ClassDef) and listed:
            found.append(where)
    assert found == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: they would hide it."""
    assert rooms.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    graph = rooms.module_graph()
    assert len(graph) > 300
    assert rooms.circles(graph) == []


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_rooms_are_few_and_import_only_downwards(package: str) -> None:
    graph = rooms.room_graph(package, rooms.module_graph())
    assert len(graph) <= MOST_ROOMS, sorted(graph)
    assert rooms.circles(graph) == []


def test_the_picture_of_the_rooms_is_true() -> None:
    """Draw it again with `python tools/physgen_checks/rooms.py`."""
    text = rooms.PAGE.read_text(encoding="utf-8")
    assert rooms.drawn(text) == text
