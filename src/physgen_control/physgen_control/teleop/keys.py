# SPDX-License-Identifier: Apache-2.0
"""The keys of the keyboard teleoperation: bytes of a terminal to key names, and what each key means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from physgen_control.teleop.command import Button

_ESCAPES = {
    b"[A": "up", b"[B": "down", b"[C": "right", b"[D": "left", b"[5~": "page up", b"[6~": "page down",
    b"OA": "up", b"OB": "down", b"OC": "right", b"OD": "left",
}  # fmt: skip
_LONGEST_ESCAPE = 8
# Ctrl-D, and Ctrl-C where the terminal does not make a signal of it.
_QUIT_BYTES = {3: "quit", 4: "quit"}


class KeyParser:
    """Cuts the byte stream of a terminal into key names; bytes that are no key are dropped.

    A printable ASCII character is its own name. An escape sequence that is not complete yet waits for its rest.
    """

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete now."""
        self._pending += data
        keys = []
        while self._pending:
            length, key = _first_key(self._pending)
            if not length:
                break
            self._pending = self._pending[length:]
            if key:
                keys.append(key)
        return keys


def _first_key(data: bytes) -> tuple[int, str]:
    """Return how many bytes the first key takes (0: incomplete) and its name (empty: no key)."""
    first = data[0]
    if first != 0x1B:
        return 1, _QUIT_BYTES.get(first, chr(first) if 32 <= first < 127 else "")
    if len(data) == 1:
        return 0, ""
    if data[1:2] not in (b"[", b"O"):
        return 1, ""
    # A control sequence ends with a byte 0x40 .. 0x7e.
    for end in range(2, min(len(data), _LONGEST_ESCAPE)):
        if 0x40 <= data[end] <= 0x7E:
            return end + 1, _ESCAPES.get(data[1 : end + 1], "")
        if not 0x20 <= data[end] <= 0x3F:
            return end, ""
    return (0, "") if len(data) < _LONGEST_ESCAPE else (_LONGEST_ESCAPE, "")


class Special(Enum):
    """What keys ask for that neither move nor press a button."""

    STOP = "stop"
    HOLD = "hold"
    FASTER = "faster"
    SLOWER = "slower"
    HELP = "help"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Motion:
    """A motion along one axis of the base frame."""

    axis: int
    """0 .. 2: translation along x, y, z; 3 .. 5: rotation about them."""
    sign: int
    """1 or -1."""


Meaning = Motion | Button | Special

KEYS: dict[str, Meaning] = {
    "w": Motion(0, 1), "s": Motion(0, -1), "up": Motion(0, 1), "down": Motion(0, -1),
    "a": Motion(1, 1), "d": Motion(1, -1), "left": Motion(1, 1), "right": Motion(1, -1),
    "r": Motion(2, 1), "f": Motion(2, -1), "page up": Motion(2, 1), "page down": Motion(2, -1),
    "l": Motion(3, 1), "j": Motion(3, -1), "i": Motion(4, 1), "k": Motion(4, -1),
    "q": Motion(5, 1), "e": Motion(5, -1),
    "o": Button.OPEN, "c": Button.CLOSE,
    "n": Button.START, "y": Button.SUCCESS, "u": Button.FAILURE, "x": Button.DISCARD,
    " ": Special.STOP, "t": Special.HOLD, "+": Special.FASTER, "=": Special.FASTER, "-": Special.SLOWER,
    "h": Special.HELP, "?": Special.HELP, "quit": Special.QUIT,
}  # fmt: skip

HELP = """\
move       w / s  forward / back (x)     a / d  left / right (y)     r / f  up / down (z)
           arrow keys and page up / down do the same
turn       q / e  about z                i / k  about y              l / j  about x
gripper    o  open                       c  close
stop       space                         t  hold the arm, hand it back (pauses a policy)
speed      + / -
episode    n  start                      y  success     u  failure     x  discard
           h  this help                  Ctrl-C  quit
"""
