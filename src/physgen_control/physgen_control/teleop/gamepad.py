# SPDX-License-Identifier: Apache-2.0
"""Gamepad: sticks move while the deadman button is held; other buttons are gripper and episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from physgen_control.errors import UserError
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.axes import AxisMap, twist_of, without_dead_zone
from physgen_control.teleop.command import Button, TeleopCommand
from physgen_control.types import Float64Array

NONE = -1
"""A button that the gamepad does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GamepadConfig:
    """Axes, speeds and buttons; the defaults are an Xbox pad as joy_node and Linux number it."""

    axis_map: tuple[str, ...] = parameter(
        ("+1", "+0", "+4", ".", "+7", "+3"),
        description="which axis drives vx, vy, vz, wx, wy, wz: sign and index, . for none",
    )
    dead_zone: float = parameter(0.12, description="deflections up to this count as rest", ge=0.0, le=0.9)
    linear_speed: float = parameter(
        0.15, description="speed at full deflection", unit="m/s", ge=0.001, le=1.0
    )
    turn_rate: float = parameter(
        0.6, description="turn rate at full deflection", unit="rad/s", ge=0.001, le=3.0
    )
    deadman_index: int = parameter(5, description="button that is the deadman (right bumper)", ge=0, le=63)
    open_index: int = parameter(1, description="button that opens the gripper (B)", ge=NONE, le=63)
    close_index: int = parameter(0, description="button that closes the gripper (A)", ge=NONE, le=63)
    start_index: int = parameter(7, description="button that starts an episode (start)", ge=NONE, le=63)
    success_index: int = parameter(
        3, description="button that ends an episode as a success (Y)", ge=NONE, le=63
    )
    failure_index: int = parameter(
        2, description="button that ends an episode as a failure (X)", ge=NONE, le=63
    )
    discard_index: int = parameter(6, description="button that discards an episode (back)", ge=NONE, le=63)

    def __post_init__(self) -> None:
        """Check axes and buttons together.

        Raises:
            UserError: The axis map cannot be read, or one button has two purposes.
        """
        AxisMap.of(self.axis_map)
        used = [index for index in self.indices().values() if index != NONE]
        twice = sorted({index for index in used if used.count(index) > 1})
        if twice:
            raise UserError(f"Button {twice[0]} has two meanings; give each its own index, or -1 for none.")

    def indices(self) -> dict[Button, int]:
        """Return the gamepad's index of each button."""
        return {
            Button.DEADMAN: self.deadman_index,
            Button.OPEN: self.open_index,
            Button.CLOSE: self.close_index,
            Button.START: self.start_index,
            Button.SUCCESS: self.success_index,
            Button.FAILURE: self.failure_index,
            Button.DISCARD: self.discard_index,
        }


class Gamepad:
    """Turns a reading (Joy axes and buttons) into a command; remembers nothing."""

    def __init__(self, config: GamepadConfig) -> None:
        self._config = config
        self._map = AxisMap.of(config.axis_map)
        self._indices = config.indices()

    def read(self, axes: Sequence[float] | Float64Array, buttons: Sequence[int]) -> TeleopCommand:
        """Return the command of one reading; a button that the pad does not have is never down."""
        pressed = frozenset(
            button
            for button, index in self._indices.items()
            if 0 <= index < len(buttons) and bool(buttons[index])
        )
        deflections = without_dead_zone(self._map.apply(axes), self._config.dead_zone)
        return TeleopCommand(
            twist=twist_of(deflections, self._config.linear_speed, self._config.turn_rate), buttons=pressed
        )
