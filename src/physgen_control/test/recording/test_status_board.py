# SPDX-License-Identifier: Apache-2.0
"""What a reader of the recorder's latched status ends up with."""

import threading
from typing import Any

from physgen_control.recording.status_board import RecorderStatus, StatusBoard

STARTING = RecorderStatus(state="starting", detail="")


def test_a_status_with_its_health_does_not_follow_its_successor():
    """A bag was completed while its health was being measured: readers saw "recording" for ever and waited."""
    said: list[dict[str, Any]] = []
    board = StatusBoard(STARTING, said.append)
    recording = RecorderStatus(state="recording", detail="", episode_id="e")
    board.replace(recording)
    looked_at = board.current
    board.replace(RecorderStatus(state="ready", detail="", episode_id="e"))
    board.repeat(looked_at, health={"seconds": 1.0})
    assert [status["state"] for status in said] == ["recording", "ready"]


def test_the_current_status_is_repeated_with_details():
    said: list[dict[str, Any]] = []
    board = StatusBoard(STARTING, said.append)
    board.repeat(board.current, health=3)
    assert said[0]["state"] == "starting"
    assert said[0]["health"] == 3


def test_the_last_message_is_the_current_status_whoever_publishes():
    said: list[dict[str, Any]] = []
    board = StatusBoard(STARTING, said.append)
    over = threading.Event()

    def measure():
        while not over.is_set():
            board.repeat(board.current, health=True)

    thread = threading.Thread(target=measure)
    thread.start()
    for number in range(300):
        board.replace(RecorderStatus(state="ready", detail="", episode_id=str(number)))
    over.set()
    thread.join()
    assert said[-1]["episode_id"] == "299"
    numbers = [int(status["episode_id"] or -1) for status in said]
    assert numbers == sorted(numbers)
