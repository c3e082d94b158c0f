# SPDX-License-Identifier: Apache-2.0
"""The controller, its monitor and a simulated arm come before other processes, where the system lets them."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

PROGRAM = """
import os, threading
from physgen_control.nodes import precedence
precedence.come_first(precedence.CONTROL)
told = []
thread = threading.Thread(target=lambda: told.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, 0), told[0])
"""


def niceness(*wrapper: str) -> list[int]:
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take a lower niceness here")
def test_a_process_and_the_threads_it_starts_take_the_niceness() -> None:
    assert niceness() == [-6, -6]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take rights away")
def test_without_the_right_it_takes_its_turn() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness("setpriv", "--reuid=65534", "--clear-groups") == [before, before]
