# SPDX-License-Identifier: Apache-2.0
"""The controller, its monitor and a simulated arm come before other processes, where the system lets them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

PROGRAM = """
import os, pathlib, threading
from physgen_control.nodes import precedence
precedence.come_first()
told = []
thread = threading.Thread(target=lambda: told.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
thread.start()
thread.join()
group = pathlib.Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), told[0], group.read_text().split()[-1] if group.exists() else "none")
"""
MAY = not subprocess.run(
    [sys.executable, "-c", "import os; os.nice(-1)"], stderr=subprocess.DEVNULL
).returncode
privileged = pytest.mark.skipif(not MAY or os.geteuid() != 0, reason="needs root with CAP_SYS_NICE")


def niceness(*wrapper: str, own_session: bool = False) -> list[str]:
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", PROGRAM],
        start_new_session=own_session,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


@privileged
def test_a_process_and_the_threads_it_starts_take_the_niceness() -> None:
    """And its session does, which is what counts between the sessions of a desktop kernel."""
    process, thread, session = niceness(own_session=True)
    assert (process, thread) == ("-10", "-10")
    assert session in ("-10", "none")


@privileged
def test_a_session_that_others_share_is_left_alone() -> None:
    group = Path("/proc/self/autogroup")
    before = group.read_text().split()[-1] if group.exists() else "none"
    assert niceness() == ["-10", "-10", before]


@privileged
def test_without_the_right_it_takes_its_turn() -> None:
    before = str(os.getpriority(os.PRIO_PROCESS, 0))
    found = niceness("setpriv", "--reuid=65534", "--clear-groups", own_session=True)
    assert found[:2] == [before, before]
    assert found[2] in ("0", "none")
