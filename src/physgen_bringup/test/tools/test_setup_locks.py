# SPDX-License-Identifier: Apache-2.0
"""Lock files: exact, without duplicates, and covering every import of the source."""

import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from physgen_setup.layout import PYTHON_PACKAGES
from physgen_setup.python_env import read_pins

ROOT = Path(__file__).resolve().parents[4]
NAMES = ("base", "dev", "lerobot", "libero", "peer", "physworld", "teleop", "viewer")
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
    return read_pins(ROOT / "requirements" / f"{name}.lock")


def canonical(name: str) -> str:
    """The package index's normal form of a name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_roots(path: Path) -> tuple[list[Requirement], set[str]]:
    """The requirements of an `.in` file and the names that its `# exclude:` lines leave out."""
    lines = path.read_text().splitlines()
    excluded = {line.removeprefix("# exclude:").strip() for line in lines if line.startswith("# exclude:")}
    return [Requirement(line) for line in lines if line and not line.startswith("#")], excluded


@pytest.mark.parametrize("name", NAMES)
def test_every_package_is_an_exact_version_with_hashes_in_order(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    packages = [line for line in lines if not line.startswith("    --hash=sha256:")]
    assert packages == sorted(packages, key=lambda line: line.split("==")[0])
    for line in packages:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*( ; .+)? \\", line), line
        assert lines[lines.index(line) + 1].startswith("    --hash=sha256:"), line
    assert len(lock(name)) == len(packages)


def test_every_file_of_a_version_is_locked() -> None:
    """A lock with one machine's wheels would refuse those of other processors and Pythons; numpy has dozens."""
    text = (ROOT / "requirements" / "base.lock").read_text()
    [numpy] = re.findall(r"^numpy==.*\\\n((?:    --hash.*\n)+)", text, re.MULTILINE)
    assert len(numpy.splitlines()) > 20


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
    if name == "base":
        pins |= {"torch": next(str(root.specifier)[2:] for root in roots if root.name == "torch")}
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
    pinned = {name for lock_name in NAMES for name in lock(lock_name)} | {"torch"}
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
