# SPDX-License-Identifier: Apache-2.0
"""Lock files: exact, without duplicates, and covering every import of the source."""

import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from physgen_setup.layout import PYTHON_PACKAGES
from physgen_setup.python_env import read_lock
from physgen_setup.relock import canonical, read_roots

ROOT = Path(__file__).resolve().parents[4]
NAMES = ("base", "dev", "lerobot", "libero", "peer", "physworld", "viewer")
# Module -> distribution, where the names differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "backports": "backports-zstd",
    "ruamel": "ruamel-yaml",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "rclpy": "ros-rclpy",
    "libero": "hf-libero",
    "mcap_ros2": "mcap-ros2-support",
    "rerun": "rerun-sdk",
    "OpenGL": "pyopengl",
}
# Of a full ROS installation, behind a seam that works without them.
FULL_ROS = {
    "controller_manager_msgs",
    "control_msgs",
    "cv_bridge",
    "franka_msgs",
    "launch",
    "launch_ros",
    "message_filters",
    "rosbag2_py",
}
# Devices, services and clusters a user connects by hand; asked for without them, they are a sentence.
BY_HAND = {"pyspacemouse", "pynput", "ray", "torchvision"}
NEWER_STANDARD_LIBRARY = {"compression"}  # Python 3.14; older versions use a locked package


def lock(name: str) -> dict[str, str]:
    return read_lock(ROOT / "requirements" / f"{name}.lock")


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_an_exact_version_in_order(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])
    for line in lines:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*", line), line
    assert len(lock(name)) == len(lines)


def test_no_package_is_pinned_at_two_versions() -> None:
    """Two extras may need the same package; what the base has is not repeated."""
    seen: dict[str, str] = {}
    for name in NAMES:
        for package, version in lock(name).items():
            assert seen.setdefault(package, version) == version, package
        assert name == "base" or not lock("base").keys() & lock(name).keys(), name


@pytest.mark.parametrize("name", NAMES)
def test_roots_are_locked_within_their_bounds(name: str) -> None:
    """Somebody who edits an .in file must write the lock again."""
    roots, excluded = read_roots(ROOT / "requirements" / f"{name}.in")
    pins = lock("base") | lock(name)
    for root in roots:
        assert root.specifier.contains(pins[canonical(root.name)]), root
    assert not excluded & lock(name).keys()


def test_the_planner_that_crashes_on_numpy_2_is_left_out() -> None:
    assert Requirement("numpy>=2").specifier.contains(lock("base")["numpy"])
    assert all("mplib" not in lock(name) for name in NAMES)


def imported_modules(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_every_third_party_import_is_locked(package: str) -> None:
    pinned = {name for lock_name in NAMES for name in lock(lock_name)}
    pinned_modules = {name.replace("-", "_") for name in pinned} | {"ament_index_python"}
    for module in (
        imported_modules(ROOT / "src" / package / package) - FULL_ROS - BY_HAND - NEWER_STANDARD_LIBRARY
    ):
        if module.startswith("physgen_"):
            continue
        distribution = DISTRIBUTIONS.get(module, canonical(module))
        is_ros = f"ros-{distribution}" in pinned
        assert distribution in pinned or is_ros or module in pinned_modules, (
            f"{module} is imported but not locked"
        )
