# SPDX-License-Identifier: Apache-2.0
"""Keyboard teleoperation: every key press is a small motion of known length, because a terminal tells no release.

A press moves along its axis at the configured speed for `pulse` seconds; holding a key repeats it and the motion goes
on. The deadman is down while a press lasts, so when nothing is typed (or the terminal is gone) the arm stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import EPISODE_BUTTONS, Button, TeleopCommand
from physgen_control.teleop.keys import KEYS, Motion, Special
from physgen_control.types import NS_PER_S, Float64Array

_FACTORS = (0.25, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyboardConfig:
    """How far and how fast a key moves the arm."""

    key_speed: float = parameter(
        0.1, description="speed of a translation key, at normal speed", unit="m/s", ge=0.001, le=1.0
    )
    key_turn_rate: float = parameter(
        0.4, description="turn rate of a rotation key, at normal speed", unit="rad/s", ge=0.001, le=3.0
    )
    pulse: float = parameter(0.15, description="how long one press moves", unit="s", ge=0.02, le=1.0)
    gripper_pulse: float = parameter(
        1.0,
        description="how long a gripper key keeps the human in command: the fingers' whole way",
        unit="s",
        ge=0.1,
        le=5.0,
    )
    button_pulse: float = parameter(
        0.2, description="how long an episode key counts as pressed", unit="s", ge=0.05, le=2.0
    )


class Keyboard:
    """Turns key presses into commands. Times are integer nanoseconds of any clock that never goes back."""

    def __init__(self, config: KeyboardConfig) -> None:
        self._config = config
        self._signs = np.zeros(6)
        self._until_ns = np.zeros(6, np.int64)
        self._gripper: tuple[Button, int] | None = None
        self._buttons: dict[Button, int] = {}
        self._level = _FACTORS.index(1.0)
        self.holding = False

    @property
    def factor(self) -> float:
        """The chosen share of the normal speed."""
        return _FACTORS[self._level]

    def press(self, key: str, now_ns: int) -> Special | None:
        """Take one key press; returns what the caller has to do itself (help, quit) or may show."""
        meaning = KEYS.get(key)
        match meaning:
            case Motion(axis, sign):
                self._signs[axis] = sign
                self._until_ns[axis] = now_ns + round(self._config.pulse * NS_PER_S)
            case Button.OPEN | Button.CLOSE:
                self._gripper = (meaning, now_ns + round(self._config.gripper_pulse * NS_PER_S))
            case Button():
                self._buttons[meaning] = now_ns + round(self._config.button_pulse * NS_PER_S)
            case Special.STOP:
                self.stop()
            case Special.HOLD:
                self.holding = not self.holding
            case Special.FASTER | Special.SLOWER:
                step = 1 if meaning is Special.FASTER else -1
                self._level = min(max(self._level + step, 0), len(_FACTORS) - 1)
        return meaning if isinstance(meaning, Special) else None

    def stop(self) -> None:
        """End every motion and give up command at once; the gripper keeps what it was told."""
        self._until_ns[:] = 0
        self._gripper, self.holding = None, False

    def command(self, now_ns: int) -> TeleopCommand:
        """Return the command of this moment."""
        moving = self._until_ns > now_ns
        speeds = np.repeat([self._config.key_speed, self._config.key_turn_rate], 3) * self.factor
        twist: Float64Array = np.where(moving, self._signs * speeds, 0.0)
        buttons = {button for button in EPISODE_BUTTONS if self._buttons.get(button, 0) > now_ns}
        if self._gripper is not None and self._gripper[1] > now_ns:
            buttons.add(self._gripper[0])
            buttons.add(Button.DEADMAN)
        if self.holding or bool(np.any(moving)):
            buttons.add(Button.DEADMAN)
        return TeleopCommand(twist=twist, buttons=frozenset(buttons))
