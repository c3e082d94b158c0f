# SPDX-License-Identifier: Apache-2.0
"""The Linux joystick device (/dev/input/js*): its eight-byte events to axes and buttons. Pure.

Format: Documentation/input/joydev/joystick-api.rst of the Linux kernel. Axes are turned as ROS' joy_node turns them: up
and left are positive.
"""

from __future__ import annotations

import struct

_EVENT = struct.Struct("=IhBB")  # time [ms], value, type, number
_INITIAL = 0x80  # the state when the device was opened
_FULL = 32767.0
MAX_NUMBER = 64


class JoystickState:
    """Axes (-1 .. 1) and buttons (0 or 1) as far as events named them."""

    def __init__(self) -> None:
        self.axes: list[float] = []
        self.buttons: list[int] = []
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of the device, in pieces of any length."""
        self._rest += data
        whole = len(self._rest) // _EVENT.size * _EVENT.size
        events, self._rest = self._rest[:whole], self._rest[whole:]
        for _, value, kind, number in _EVENT.iter_unpack(events):
            if number >= MAX_NUMBER:
                continue
            match kind & ~_INITIAL:
                case 0x01:
                    self.buttons.extend([0] * (number + 1 - len(self.buttons)))
                    self.buttons[number] = int(value != 0)
                case 0x02:
                    self.axes.extend([0.0] * (number + 1 - len(self.axes)))
                    self.axes[number] = min(-value / _FULL, 1.0) + 0.0  # no negative zero
