# SPDX-License-Identifier: Apache-2.0
"""`physgen teleop`: the viewer that comes with a device."""

from __future__ import annotations

import pytest

from physgen_bringup.commands.teleop import _viewer_of
from physgen_control.errors import UserError


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("physgen_bringup.graph.viewer_choice.is_installed", lambda: True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_the_viewer_is_not_a_parameter_of_the_device(installed):
    assert _viewer_of("joy", ["speed:=0.1", "viewer:=rerun_web"]) == (["speed:=0.1"], "rerun_web")
    assert _viewer_of("keyboard", ["speed:=0.1"]) == (["speed:=0.1"], "none")


def test_the_keyboard_brings_a_window_where_there_is_a_display(installed, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    assert _viewer_of("keyboard", []) == ([], "rerun")
    assert _viewer_of("keyboard", ["viewer:=none"]) == ([], "none")
    assert _viewer_of("gello", []) == ([], "none")


def test_a_viewer_that_is_unknown_or_not_installed_is_one_sentence(installed, monkeypatch):
    with pytest.raises(UserError, match="none, rerun, rerun_web"):
        _viewer_of("keyboard", ["viewer:=rviz"])
    monkeypatch.setattr("physgen_bringup.graph.viewer_choice.is_installed", lambda: False)
    with pytest.raises(UserError, match="physgen setup --viewer"):
        _viewer_of("keyboard", ["viewer:=rerun"])
