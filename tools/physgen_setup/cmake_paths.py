# SPDX-License-Identifier: Apache-2.0
"""Mends the ROS wheels' exported CMake files, which name two folders of the machine they were built on."""

from __future__ import annotations

import re
from pathlib import Path

_PYTHON_INCLUDE = re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")
_NUMPY_INCLUDE = re.compile(
    r"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include"
)


def mend(text: str, python_include: str, numpy_include: str) -> str:
    """Return the text of a CMake file with the build machine's folders replaced by this machine's."""
    text = _NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return _PYTHON_INCLUDE.sub(lambda _: python_include, text)


def mend_tree(folder: Path, python_include: str, numpy_include: str) -> int:
    """Mend every CMake file below a folder in place; return how many changed. Repeating it changes nothing."""
    changed = 0
    for path in folder.rglob("*.cmake"):
        old = path.read_text(encoding="utf-8", errors="surrogateescape")
        new = mend(old, python_include, numpy_include)
        if new != old:
            path.write_text(new, encoding="utf-8", errors="surrogateescape")
            changed += 1
    return changed
