# SPDX-License-Identifier: Apache-2.0
"""What every teleoperation device ends in: a twist in the base frame and the buttons that are down."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from physgen_control.types import Float64Array


class Button(IntEnum):
    """Index in Joy.buttons of /teleop/joy; the controller reads the first three (its parameters *_button)."""

    DEADMAN = 0
    OPEN = 1
    CLOSE = 2
    START = 3
    SUCCESS = 4
    FAILURE = 5
    DISCARD = 6


EPISODE_BUTTONS = (Button.START, Button.SUCCESS, Button.FAILURE, Button.DISCARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeleopCommand:
    """One reading of a device; its twist counts only while the deadman is among its buttons."""

    twist: Float64Array = field(default_factory=lambda: np.zeros(6))
    """float64 [6], TCP velocity [m/s] and turn rate [rad/s] in the base frame."""
    buttons: frozenset[Button] = frozenset()
    """What is down now."""

    @property
    def deadman(self) -> bool:
        """Whether the human wants to be in command."""
        return Button.DEADMAN in self.buttons

    @property
    def acts(self) -> bool:
        """Whether the human moves the arm or the fingers."""
        return self.deadman and (
            bool(np.any(self.twist)) or Button.OPEN in self.buttons or Button.CLOSE in self.buttons
        )

    @property
    def gripper(self) -> float:
        """+1 open, -1 closed, 0 keep; both buttons at once keep."""
        return float(Button.OPEN in self.buttons) - float(Button.CLOSE in self.buttons)

    def joy_buttons(self) -> list[int]:
        """Return Joy.buttons in the order of `Button`."""
        return [int(button in self.buttons) for button in Button]


RELEASED = TeleopCommand()
"""Nobody touches the device."""
