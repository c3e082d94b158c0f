# SPDX-License-Identifier: Apache-2.0
"""The controller, its monitor and a simulated arm come before other processes, where the system lets them."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

GROUP = """
import pathlib
group = pathlib.Path("/proc/self/autogroup")
# Empty for the first session of a container: it is in no group that has a niceness of its own.
words = group.read_text().split() if group.exists() else []
print(words[-1] if words else "none")
"""
PROGRAM = """
import os, threading
from physgen_control.nodes import precedence
precedence.come_first()
told = []
thread = threading.Thread(target=lambda: told.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, 0), told[0])
"""
MAY = not subprocess.run(
    [sys.executable, "-c", "import os; os.nice(-1)"], stderr=subprocess.DEVNULL
).returncode
privileged = pytest.mark.skipif(not MAY or os.geteuid() != 0, reason="needs root with CAP_SYS_NICE")


def niceness(*wrapper: str, own_session: bool = False, program: str = PROGRAM + GROUP) -> list[str]:
    """The words that a fresh process prints: its niceness, that of a thread it started, that of its session."""
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", program],
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
    before = niceness(program=GROUP)
    assert niceness() == ["-10", "-10", *before]


@privileged
def test_without_the_right_it_takes_its_turn() -> None:
    before = str(os.getpriority(os.PRIO_PROCESS, 0))
    found = niceness("setpriv", "--reuid=65534", "--clear-groups", own_session=True)
    assert found[:2] == [before, before]
    assert found[2] in ("0", "none")
