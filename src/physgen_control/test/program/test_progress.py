# SPDX-License-Identifier: Apache-2.0
"""A command is never silent for long, whatever it does; a person at a terminal sees bars."""

import io
import threading
import time

import pytest

from physgen_control.program import verbosity
from physgen_control.program.progress import Progress, command_line


class TimedStream(io.StringIO):
    """Text with the moment of every line."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.times.append(time.monotonic())
        self.written.set()
        return super().write(text)

    def wait_for_a_line(self) -> str:
        self.written.clear()
        assert self.written.wait(30)
        return self.getvalue().splitlines()[-1]


def test_a_silent_stage_is_told_with_what_is_known_of_it() -> None:
    stream = TimedStream()
    progress = Progress(stream, silence_s=0.05)
    with progress.stage("episodes", 10) as stage:
        assert stream.wait_for_a_line() == "episodes 0/10, 0 s so far"
        stage.update(completed=4, info="success 3/4 = 75 %")
        stream.wait_for_a_line()
        line = stream.wait_for_a_line()
        assert line.startswith("episodes 4/10, success 3/4 = 75 %, 0 s so far, about")
        assert line.endswith("left")


def test_the_inner_stage_is_the_one_that_is_told() -> None:
    stream = TimedStream()
    progress = Progress(stream, silence_s=0.05)
    with progress.stage("training"):
        with progress.stage("latents", 3) as inner:
            inner.update(advance=1)
            stream.wait_for_a_line()
            assert "latents 1/3" in stream.wait_for_a_line()
        stream.wait_for_a_line()
        assert stream.wait_for_a_line().startswith("training, ")


def test_nothing_is_added_while_enough_is_said_and_after_the_end() -> None:
    stream = TimedStream()
    progress = Progress(stream, silence_s=30.0)
    with progress.stage("graph"):
        for number in range(5):
            progress.say(f"line {number}")
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(5)]
    assert not any(thread.name.startswith("progress") for thread in threading.enumerate())


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(verbosity.VARIABLE, verbosity.QUIET)
    stream = TimedStream()
    progress = Progress(stream, silence_s=0.01)
    with progress.stage("episodes", 2) as stage:
        progress.say("started")
        stage.update(advance=1)
        time.sleep(0.05)  # there is nothing to wait for: the point is that nothing comes
    progress.next("./physgen", "view")
    assert stream.getvalue() == ""


def test_a_reader_that_went_away_ends_no_command() -> None:
    class Closed(TimedStream):
        def write(self, text: str) -> int:
            super().write(text)
            raise BrokenPipeError

    stream = Closed()
    progress = Progress(stream, silence_s=0.01)
    with progress.stage("episodes"):
        assert stream.written.wait(30)


def test_a_terminal_shows_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(TimedStream):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress(stream, silence_s=0.01)
    with progress.stage("episodes [1]", 2) as stage:
        stage.update(completed=2, info="success 2/2")
        progress.say("seed 3 [crashed]")
    assert "seed 3 [crashed]" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "episodes [1]" in stream.getvalue()


def test_words_are_quoted_for_a_shell() -> None:
    assert command_line(["./physgen", "eval", "--out", "my runs", "&&", "ls"]) == (
        "./physgen eval --out 'my runs' && ls"
    )


def test_flags_of_verbosity_are_taken_from_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(verbosity.VARIABLE, "")
    assert verbosity.take_flags(["a", "-q", "--", "-v"]) == ["a", "--", "-v"]
    assert verbosity.is_quiet()
    assert not verbosity.is_verbose()
