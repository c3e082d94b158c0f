# SPDX-License-Identifier: Apache-2.0
"""SpaceMouse: a puck that springs back, so a deflection is its own deadman.

Readings are in the ROS body convention: x away from the user, y left, z up, rotations about them, each -1 .. 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.axes import AxisMap, twist_of, without_dead_zone
from physgen_control.teleop.command import Button, TeleopCommand
from physgen_control.types import NS_PER_S, Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SixAxisConfig:
    """Axes, speeds and buttons of a SpaceMouse."""

    axis_map: tuple[str, ...] = parameter(
        ("+0", "+1", "+2", "+3", "+4", "+5"),
        description="which axis drives vx, vy, vz, wx, wy, wz: sign and index, . for none",
    )
    dead_zone: float = parameter(0.15, description="deflections up to this count as rest", ge=0.0, le=0.9)
    axis_scale: float = parameter(
        1.0, description="factor on the readings (spacenav reaches about 0.68)", ge=0.01, le=100.0
    )
    linear_speed: float = parameter(
        0.15, description="speed at full deflection", unit="m/s", ge=0.001, le=1.0
    )
    turn_rate: float = parameter(
        0.6, description="turn rate at full deflection", unit="rad/s", ge=0.001, le=3.0
    )
    linger: float = parameter(
        0.25,
        description="the human stays in command this long after the puck came back",
        unit="s",
        ge=0.0,
        le=5.0,
    )
    gripper_linger: float = parameter(
        1.0, description="the same after a gripper button: the fingers' whole way", unit="s", ge=0.0, le=5.0
    )
    close_index: int = parameter(0, description="index of the button that closes the gripper", ge=0, le=63)
    open_index: int = parameter(1, description="index of the button that opens the gripper", ge=0, le=63)

    def __post_init__(self) -> None:
        """Check axes and buttons together.

        Raises:
            UserError: The axis map cannot be read, or one button has two purposes.
        """
        AxisMap.of(self.axis_map)
        if self.close_index == self.open_index:
            raise UserError(f"open_index and close_index are both {self.open_index}; choose two buttons.")


class SixAxis:
    """Turns readings into commands. Times are integer nanoseconds of any clock that never goes back."""

    def __init__(self, config: SixAxisConfig) -> None:
        self._config = config
        self._map = AxisMap.of(config.axis_map)
        self._in_command_until_ns = 0

    def read(
        self, axes: Sequence[float] | Float64Array, buttons: Sequence[int], now_ns: int
    ) -> TeleopCommand:
        """Return the command of one reading.

        Args:
            axes: Deflections of the device, -1 .. 1.
            buttons: 1 for each button that is down.
            now_ns: Time of the reading [ns].
        """
        config = self._config
        deflections = without_dead_zone(self._map.apply(axes) * config.axis_scale, config.dead_zone)
        pressed = set()
        for button, index in ((Button.CLOSE, config.close_index), (Button.OPEN, config.open_index)):
            if index < len(buttons) and buttons[index]:
                pressed.add(button)
        if pressed:
            self._stay_until(now_ns + round(config.gripper_linger * NS_PER_S))
        if np.any(deflections):
            self._stay_until(now_ns + round(config.linger * NS_PER_S))
        if pressed or np.any(deflections) or now_ns < self._in_command_until_ns:
            pressed.add(Button.DEADMAN)
        return TeleopCommand(
            twist=twist_of(deflections, config.linear_speed, config.turn_rate), buttons=frozenset(pressed)
        )

    def lost(self) -> None:
        """End the command at once, without lingering: the device is gone."""
        self._in_command_until_ns = 0

    def _stay_until(self, time_ns: int) -> None:
        self._in_command_until_ns = max(self._in_command_until_ns, time_ns)
