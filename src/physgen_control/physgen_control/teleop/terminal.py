# SPDX-License-Identifier: Apache-2.0
"""The terminal that a person types into: keys without Enter and without echo, and everything as before afterwards."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any

from physgen_control.errors import UserError

TERMINAL = "/dev/tty"


class Terminal:
    """The controlling terminal, whatever standard input is; use as a context manager.

    Ctrl-C still makes a signal, and output is not touched, so other processes may print to the same terminal.
    """

    def __init__(self, path: str = TERMINAL) -> None:
        self._path = path
        self._fd = -1
        self._before: list[Any] | None = None

    def __enter__(self) -> Terminal:
        """Open the terminal and switch it to single keys.

        Raises:
            UserError: There is none.
        """
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSANOW)
            # Ctrl-Z would stop this process (and a launch in the same terminal) with the terminal left like this.
            changed = termios.tcgetattr(self._fd)
            changed[6][termios.VSUSP] = b"\0"
            termios.tcsetattr(self._fd, termios.TCSANOW, changed)
        except (OSError, termios.error) as error:
            self._close()
            raise UserError(
                f"Keyboard teleoperation needs a terminal to read keys from, and there is none ({error}): start it in "
                "a terminal window, or over `ssh -t`."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the terminal."""
        self._close()

    def read(self, timeout_s: float) -> bytes | None:
        """Return what was typed, b"" if nothing came within the time, None when the terminal is gone."""
        try:
            ready, _, _ = select.select([self._fd], [], [], timeout_s)
            if not ready:
                return b""
            return os.read(self._fd, 256) or None
        except InterruptedError:
            return b""
        except (OSError, ValueError):
            return None

    def show(self, text: str) -> None:
        """Print to the terminal; a terminal that is gone is no error."""
        data = text.encode(errors="replace")
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:
                return

    def _close(self) -> None:
        if self._fd < 0:
            return
        if self._before is not None:
            try:
                # Discards what was typed but not read: it must not become a shell command.
                termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._before)
            except (OSError, termios.error) as error:
                sys.stderr.write(f"the terminal could not be restored: {error}\n")
            self._before = None
        os.close(self._fd)
        self._fd = -1


def has_terminal(path: str = TERMINAL) -> bool:
    """Say whether this process has a terminal to read keys from."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
