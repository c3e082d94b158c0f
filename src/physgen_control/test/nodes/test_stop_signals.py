# SPDX-License-Identifier: Apache-2.0
"""A signal that asks for a stop ends a node in order, whatever the node does at that moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

pytestmark = pytest.mark.ros

DOMAIN = 48
WAIT_S = 60.0
SCRIPT = Path(__file__).parents[1] / "chatty_node.py"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BLOCKED = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP)); "
BLOCKED += (
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BLOCKED, str(SCRIPT), *words],
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, errors
    assert errors == ""
    return out


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("delay_ms", range(0, 10, 2))
def test_a_node_amid_messages_stops_between_two_and_says_its_last_words(
    number: signal.Signals, delay_ms: int
) -> None:
    """A KeyboardInterrupt inside the conversion of a message once came out as a RuntimeError and a traceback."""
    process = start()
    assert first_line(process) == "chatting"
    time.sleep(delay_ms / 1000)  # any moment will do
    process.send_signal(number)
    assert end(process) == "closed\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_libraries_are_loaded_is_answered_when_they_are(number: signal.Signals) -> None:
    process = start()
    time.sleep(0.3)
    process.send_signal(number)
    end(process)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_node_that_takes_long_to_make_is_interrupted(number: signal.Signals) -> None:
    process = start("slow")
    assert first_line(process) == "making"
    process.send_signal(number)
    assert end(process) == ""


def test_a_second_signal_does_not_tear_the_end_apart() -> None:
    process = start()
    assert first_line(process) == "chatting"
    for _ in range(3):  # a terminal and a launcher both send one
        process.send_signal(signal.SIGINT)
    assert end(process) == "closed\n"
