# SPDX-License-Identifier: Apache-2.0
"""The viewer's process is reached on this computer only, tells nobody of its use, and ends with who started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

pytest.importorskip("rerun", reason="the viewer is not installed (./physgen setup --viewer)")

from physgen_bringup.commands import view
from physgen_bringup.graph.viewer_choice import NOT_INSTALLED
from physgen_bringup.viewer import window as viewer_window
from physgen_bringup.viewer.window import open_window, private_environment, program
from physgen_control.errors import UserError


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Settings of the viewer in a folder of this test, and no display."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    """Address and port of every socket that a process listens on."""
    return {
        (c.laddr.ip, c.laddr.port)
        for c in process.net_connections("inet")
        if c.status == psutil.CONN_LISTEN or (c.type == 2 and not c.raddr)  # 2: datagrams
    }


def test_every_socket_is_on_loopback_and_pages_may_talk_to_nobody_else(own_cache):
    before = listening(psutil.Process())
    window = open_window("rerun_web", dict(os.environ))
    try:
        found = listening(psutil.Process(window.process.pid)) | (listening(psutil.Process()) - before)
        assert len(found) == 3  # data, Rerun's pages, ours with the rule
        assert {address for address, _ in found} == {"127.0.0.1"}
        with urllib.request.urlopen(window.page, timeout=60.0) as answer:
            rule = answer.headers["Content-Security-Policy"]
            assert b"re_viewer.js" in answer.read()
        allowed = rule.partition("connect-src")[2].partition(";")[0].split()
        assert [place for place in allowed if "//" in place] == [
            window.url.partition("+")[2].removesuffix("/proxy")
        ]
        assert "rerun.io" not in rule
    finally:
        window.close()
    assert not window.alive


def test_usage_is_not_reported(own_cache):
    done = subprocess.run(
        [program(), "analytics", "config"],
        env=private_environment(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    settings = json.loads(done.stdout)
    assert settings["analytics_enabled"] is False
    assert Path(settings["config_file_path"]).is_relative_to(own_cache)


def test_the_viewer_ends_with_a_program_that_is_killed(own_cache):
    """A viewer that outlives its graph would show an old picture as if it were live."""
    code = (
        "import os, sys, time\n"
        "from physgen_bringup.viewer.window import open_window\n"
        "print(open_window('rerun_web', dict(os.environ)).process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        viewer = psutil.Process(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
    psutil.wait_procs([viewer], timeout=60.0)
    assert not viewer.is_running() or viewer.status() == psutil.STATUS_ZOMBIE


def test_without_the_package_one_sentence_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(viewer_window, "is_installed", lambda: False)
    (tmp_path / "bag").mkdir()
    with pytest.raises(UserError) as caught:
        view.main([str(tmp_path / "bag"), "--viewer"])
    assert str(caught.value) == NOT_INSTALLED
