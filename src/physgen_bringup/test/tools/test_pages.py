# SPDX-License-Identifier: Apache-2.0
"""What the pages name is there: files, parameters, functions."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
# Of ROS and of Franka.
FOREIGN = {
    "communication_test",
    "fr3_link0",
    "franka_bringup/franka.launch.py",
    "realsense2_camera/rs_launch.py",
    "ros2_control_node",
}
SOURCES = ("src", "tools", "requirements", "docker", "examples")


def pages() -> Iterator[Path]:
    """Yield every page but the changelog, which tells of what was."""
    for folder in ("docs", "src"):
        yield from sorted((ROOT / folder).rglob("*.md"))
    yield from (path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md")


def named(pattern: str) -> list[tuple[str, str]]:
    """Return what the pages name in code font: (page, name)."""
    return [
        (str(page.relative_to(ROOT)), name)
        for page in pages()
        for name in re.findall(f"`({pattern})`", page.read_text(encoding="utf-8"))
        if name not in FOREIGN
    ]


def test_every_module_that_a_page_names_exists() -> None:
    files = [f"/{path.relative_to(ROOT)}" for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    names = named(r"[\w./-]+\.py")
    assert len(names) > 50
    assert [entry for entry in names if not any(file.endswith(f"/{entry[1]}") for file in files)] == []


def test_every_parameter_that_a_page_names_is_in_the_source() -> None:
    """Words with an underscore; a procedure for the first motion once named one that there was not."""
    text = "\n".join(
        path.read_text(encoding="utf-8", errors="replace") + str(path)
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".yml", ".msg", ".srv", ".action", ".in", ".lock", ".xml", ".toml")
    )
    words = set(re.findall(r"\w+", text))
    names = named(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
    assert len(names) > 200
    assert [entry for entry in names if entry[1] not in words] == []
