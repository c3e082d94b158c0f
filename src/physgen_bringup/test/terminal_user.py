# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal: a process on a pseudo-terminal, keys to type and a screen to read."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self


class TerminalUser:
    """Runs a command with a pseudo-terminal as its controlling terminal; use as a context manager."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.screen = ""
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.look()
        os.close(self.slave)
        os.close(self.master)

    def type(self, keys: str | bytes) -> None:
        """Type characters (text, or bytes for escape sequences)."""
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def look(self) -> str:
        """Return everything that was printed so far."""
        while select.select([self.master], [], [], 0.0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.screen += data.decode(errors="replace")
        return self.screen

    def sees(self, words: str) -> bool:
        return words in self.look()

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        """Wait until the condition holds; a failure shows the screen."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"not within {timeout_s} s: {what}; the screen: {self.look()}"
            time.sleep(0.02)

    def ended(self) -> bool:
        self.look()  # a full terminal would block the process
        return self.process.poll() is not None

    def restored(self) -> bool:
        """Whether the terminal is in the mode that it had before."""
        return termios.tcgetattr(self.slave) == self.before
