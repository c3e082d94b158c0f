# SPDX-License-Identifier: Apache-2.0
"""Whether a graph gets a viewer: what was asked for, what is installed, and where a window can be."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

KINDS = ("rerun", "rerun_web")
NOT_INSTALLED = (
    "the viewer needs the Python package rerun-sdk, which is not installed; run `physgen setup --viewer` "
    "(in a ROS workspace: `pip install rerun-sdk==0.41.0`), or leave the viewer out"
)


def is_installed() -> bool:
    """Return whether the SDK of the viewer is there."""
    return importlib.util.find_spec("rerun") is not None


def has_display(environment: Mapping[str, str]) -> bool:
    """Return whether a window can be opened."""
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def default_viewer(teleop: str, environment: Mapping[str, str]) -> str:
    """Return the viewer for who did not choose one: a person at a keyboard must see, where there is a display."""
    return "rerun" if teleop == "keyboard" and has_display(environment) and is_installed() else "none"
