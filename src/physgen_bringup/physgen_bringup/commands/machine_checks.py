# SPDX-License-Identifier: Apache-2.0
"""What `physgen doctor` looks at: each check answers with one line, and with what to do where something is wrong.

Standard library only: whoever cannot set the stack up needs it most. Nothing is changed.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "note", "wrong"]
MIN_PYTHON = (3, 11)
MIN_FREE_GB = 5.0
MIN_MEMORY_GB = 4.0
MIN_RTPRIO = 80
PACKAGES = ("torch", "rclpy", "physgen_msgs", "mani_skill", "mcap")
LAST_DOMAIN = 232


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of a check.

    verdict: ok; note, what only some uses need; wrong, what stops commands.
    """

    what: str
    verdict: Verdict
    says: str
    do: str = ""

    def line(self) -> str:
        """Return it for people."""
        mark = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}[self.verdict]
        return f"{mark}  {self.what:<16} {self.says}" + (f"\n{'':<24} -> {self.do}" if self.do else "")


def findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the answer of every check."""
    checks: tuple[Callable[[Mapping[str, str]], Finding], ...] = (
        _python,
        _packages,
        _disk,
        _memory,
        _temporary,
        _gpu,
        _domain,
        _discovery,
        _loopback,
        _real_time,
        _display,
        _devices,
    )
    for check in checks:
        yield check(environment)


def _python(_: Mapping[str, str]) -> Finding:
    shown = f"{platform.python_version()} in {sys.executable}, {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("Python", "wrong", shown, "install Python 3.11 or 3.12, or name one in PHYSGEN_PYTHON")
    return Finding("Python", "ok", shown)


def _packages(_: Mapping[str, str]) -> Finding:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("packages", "note", f"not installed here: {', '.join(missing)}", "./physgen setup")
    return Finding("packages", "ok", f"{', '.join(PACKAGES)} can be imported")


def _disk(environment: Mapping[str, str]) -> Finding:
    folder = Path(environment.get("PHYSGEN_HOME") or ".").expanduser()
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    says = f"{free_gb:.1f} GB free at {folder.resolve()}"
    if free_gb < MIN_FREE_GB:
        return Finding("disk", "wrong", says, "free some, or move the state folder with PHYSGEN_HOME=DIR")
    return Finding("disk", "ok", says)


def _memory(_: Mapping[str, str]) -> Finding:
    total_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    says = f"{total_gb:.1f} GB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    if total_gb < MIN_MEMORY_GB:
        return Finding("memory", "wrong", says, "evaluate and collect with --workers 1")
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        return Finding("memory", "note", says, "other programs use the cores: times measured now mean little")
    return Finding("memory", "ok", says)


def _temporary(_: Mapping[str, str]) -> Finding:
    shared = Path("/dev/shm")
    if not (shared.is_dir() and os.access(shared, os.W_OK)):
        return Finding(
            "shared memory", "note", "/dev/shm cannot be written", "DDS falls back to UDP on loopback"
        )
    free_mb = shutil.disk_usage(shared).free / 1e6
    if free_mb < 64:
        return Finding("shared memory", "note", f"{free_mb:.0f} MB in /dev/shm", "docker run --shm-size=512m")
    return Finding("shared memory", "ok", f"{free_mb:.0f} MB in /dev/shm")


def _gpu(_: Mapping[str, str]) -> Finding:
    if Path("/proc/driver/nvidia/version").is_file() or shutil.which("nvidia-smi"):
        return Finding("GPU", "ok", "an NVIDIA driver is there")
    return Finding("GPU", "note", "no NVIDIA driver: everything runs on the CPU, the largest model slowly")


def _domain(environment: Mapping[str, str]) -> Finding:
    text = environment.get("ROS_DOMAIN_ID", "").strip()
    if text and not (text.isascii() and text.isdigit() and int(text) <= LAST_DOMAIN):
        remedy = f"an integer from 0 to {LAST_DOMAIN}, or unset it"
        return Finding("DDS domain", "wrong", f"ROS_DOMAIN_ID={text}", remedy)
    return Finding("DDS domain", "ok", f"ROS_DOMAIN_ID={text}" if text else "a private one for every graph")


def _discovery(environment: Mapping[str, str]) -> Finding:
    value = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if value.upper() == "OFF":
        return Finding(
            "DDS discovery", "wrong", "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: no node finds another", "unset it"
        )
    rmw = environment.get("RMW_IMPLEMENTATION", "")
    return Finding("DDS discovery", "ok", ", ".join(part for part in (value or "LOCALHOST", rmw) if part))


def _loopback(_: Mapping[str, str]) -> Finding:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            one.settimeout(1.0)
            one.sendto(b"physgen", one.getsockname())
            one.recv(16)
    except OSError as error:
        return Finding(
            "loopback", "wrong", f"UDP on 127.0.0.1 fails ({error})", "allow it in the firewall or sandbox"
        )
    return Finding("loopback", "ok", "UDP on 127.0.0.1 works")


def _real_time(_: Mapping[str, str]) -> Finding:
    kernel = Path("/sys/kernel/realtime")
    preempt = kernel.is_file() and kernel.read_text().strip() == "1"
    priority = resource.getrlimit(resource.RLIMIT_RTPRIO)[1]
    says = f"{'' if preempt else 'no '}PREEMPT_RT kernel, real-time priority up to {priority}"
    if not preempt or (0 <= priority < MIN_RTPRIO):
        return Finding("real time", "note", says, "only a real arm needs it: docs/real_robot/bringup.md")
    return Finding("real time", "ok", says)


def _display(environment: Mapping[str, str]) -> Finding:
    if environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        return Finding("display", "ok", "a window can be opened")
    return Finding("display", "note", "none: viewers open in a browser (viewer:=rerun_web) or write a file")


def _devices(_: Mapping[str, str]) -> Finding:
    joysticks = sorted(Path("/dev/input").glob("js*")) if Path("/dev/input").is_dir() else []
    closed = [str(path) for path in joysticks if not os.access(path, os.R_OK)]
    if closed:
        return Finding(
            "input devices", "note", f"{', '.join(closed)} cannot be read", "sudo usermod -aG input $USER"
        )
    shown = ", ".join(map(str, joysticks)) or "no joystick; the keyboard always works"
    return Finding("input devices", "ok", shown)
