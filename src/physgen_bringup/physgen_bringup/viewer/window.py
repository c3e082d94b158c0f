# SPDX-License-Identifier: Apache-2.0
"""The viewer's own process: Rerun in a window or for a browser, reached on this computer only, telling nobody.

Without a display there is no window: what is drawn goes into a file, and the pages for a browser are served unopened.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from physgen_bringup.graph.viewer_choice import NOT_INSTALLED, has_display, is_installed
from physgen_bringup.processes import guard
from physgen_bringup.viewer.web_page import WebPage
from physgen_control.errors import UserError
from physgen_control.program.user_folder import user_folder

LOOPBACK = "127.0.0.1"
START_S = 20.0
NOWHERE = "http://127.0.0.1:9"
"""A proxy that does not exist: what Rerun asks of its makers (is there a newer version?) ends on this computer."""
MEMORY = "1GiB"
"""Beyond it the oldest data is dropped, in the server and in the window alike."""


def require_installed() -> None:
    """Check that the viewer's optional part is there.

    Raises:
        UserError: It is missing.
    """
    if not is_installed():
        raise UserError(NOT_INSTALLED)


@dataclass(slots=True)
class Window:
    """A viewer that runs."""

    process: subprocess.Popen[bytes]
    url: str
    """Where recordings are sent."""
    page: str
    """What a browser opens; "" for a window."""
    web: WebPage | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs: a person may have closed it."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the viewer's process."""
        if self.web is not None:
            self.web.close()
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def open_window(kind: str, environment: Mapping[str, str]) -> Window:
    """Start a viewer and return when it listens; opens a browser for "rerun_web" where there is a display.

    Args:
        kind: "rerun" or "rerun_web".
        environment: Of this process.

    Raises:
        UserError: The viewer is not installed, or did not start.
    """
    require_installed()
    port = free_port()
    # Ends with this process, however that ends.
    command = [sys.executable, "-S", guard.__file__, "tie", str(os.getpid()), program()]
    command += ["--bind", LOOPBACK, "--port", str(port), "--hide-welcome-screen"]
    command += ["--memory-limit", MEMORY, "--server-memory-limit", MEMORY]
    served = free_port() if kind == "rerun_web" else 0
    if served:
        command += ["--serve-web", "--web-viewer-port", str(served)]
    process = subprocess.Popen(
        command,
        env=private_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"rerun+http://{LOOPBACK}:{port}/proxy"
    window = Window(process, url, "")
    for wanted in (port, *([served] if served else [])):
        if not _listens(process, wanted):
            window.close()
            raise UserError(
                "the viewer did not start; `rerun` in a terminal says why (a window needs a graphics driver: "
                "rerun_web needs none)"
            )
    if served:
        window.web = WebPage(served, port)
        window.page = f"http://{LOOPBACK}:{window.web.port}/?url={quote(url, safe='')}"
        if has_display(environment):
            webbrowser.open(window.page)
    return window


def program() -> str:
    """Return the path of the viewer's program, which comes with the SDK.

    Raises:
        UserError: It is missing.
    """
    # Not the script `rerun`: that starts the program as a child, which would outlive it.
    package = importlib.util.find_spec("rerun_cli")
    for folder in (package.submodule_search_locations or []) if package is not None else []:
        if (Path(folder) / "rerun").is_file():
            return str(Path(folder) / "rerun")
    raise UserError(NOT_INSTALLED)


def private_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which Rerun sends nothing about its use: by a configuration of its own, not the user's.

    What it keeps (window places) is below `~/.cache/physgen`, or where that environment says.
    """
    folder = user_folder("rerun")
    settings = folder / "rerun" / "analytics.json"
    if not settings.is_file():
        settings.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "analytics_enabled": False,
            "analytics_id": "",
            "metadata": {},
            "config_file_path": str(settings),
            "data_dir_path": str(folder / "data"),
        }
        draft = settings.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(values), encoding="utf-8")
        draft.replace(settings)
    nobody = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), NOWHERE)
    nobody |= {name.lower(): NOWHERE for name in nobody}
    local = dict.fromkeys(("NO_PROXY", "no_proxy"), f"{LOOPBACK},localhost")
    return {
        **environment,
        **nobody,
        **local,
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
    }


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return True
        time.sleep(0.05)
    return False
