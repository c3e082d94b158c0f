# SPDX-License-Identifier: Apache-2.0
"""Teleoperation with a SpaceMouse: from spacenav's topics, or read in this process with pyspacemouse."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Twist
from sensor_msgs.msg import Joy

from physgen_control.errors import UserError
from physgen_control.nodes import qos
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.teleop_node import TeleopConfig, TeleopNode
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import RELEASED, TeleopCommand
from physgen_control.teleop.six_axis import SixAxis, SixAxisConfig

NAME = "spacemouse_teleop_node"
SPACENAV_TWIST, SPACENAV_JOY = "/spacenav/twist", "/spacenav/joy"
MAX_REPORTS = 64
"""HID reports taken at once: axes and buttons come in different ones."""


@dataclass(frozen=True, kw_only=True)
class SpaceMouseConfig(TeleopConfig, SixAxisConfig):
    """Parameters of the node."""

    device: str = parameter(
        "spacenav",
        description="Where readings come from: the topics of spacenav, or the device itself",
        choices=("spacenav", "pyspacemouse"),
    )
    input_timeout: float = parameter(
        0.25, description="A reading older than this counts as released (spacenav)", unit="s", ge=0.02, le=5.0
    )

    def __post_init__(self) -> None:
        """Check the axes."""
        SixAxisConfig.__post_init__(self)


class SpaceMouseTeleopNode(TeleopNode[SpaceMouseConfig]):
    """Turns the newest reading of a SpaceMouse into commands."""

    def __init__(self) -> None:
        super().__init__(NAME, SpaceMouseConfig)
        self._core = SixAxis(self.config)
        self._axes: list[float] = [0.0] * 6
        self._buttons: list[int] = []
        self._twist_ns: int | None = None
        self._mouse: Any = None
        if self.config.device == "pyspacemouse":
            self._mouse = open_spacemouse()
            self.say(f"Reading {self._mouse.name}.")
        else:
            self.create_subscription(Twist, SPACENAV_TWIST, self._on_twist, qos.COMMAND)
            self.create_subscription(Joy, SPACENAV_JOY, self._on_joy, qos.COMMAND)
        self.start()

    def read(self, now_ns: int) -> TeleopCommand:
        """Return the command of the newest reading; none that is recent means released."""
        if self._mouse is not None:
            self._poll(now_ns)
        limit_ns = round(self.config.input_timeout * 1e9)
        if self._twist_ns is None or now_ns - self._twist_ns > limit_ns:
            self._core.lost()
            return RELEASED
        return self._core.read(self._axes, self._buttons, now_ns)

    def _on_twist(self, message: Twist) -> None:
        linear, angular = message.linear, message.angular
        self._axes = [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
        self._twist_ns = self.steady_ns()

    def _on_joy(self, message: Joy) -> None:
        self._buttons = list(message.buttons)

    def _poll(self, now_ns: int) -> None:
        try:
            state = self._mouse.state
            for _ in range(MAX_REPORTS):
                before = state.t
                state = self._mouse.read()
                if state.t == before:
                    break
            connected = self._mouse.connected
        except (OSError, RuntimeError) as error:
            raise UserError(f"The SpaceMouse cannot be read any more ({error}): plug it in again.") from error
        if not connected:
            raise UserError("The SpaceMouse was unplugged: plug it in and start again.")
        self._axes = [state.x, state.y, state.z, state.roll, state.pitch, state.yaw]
        self._buttons = list(state.buttons)
        self._twist_ns = now_ns


def open_spacemouse() -> Any:
    """Open the first SpaceMouse in the ROS axis convention.

    Raises:
        UserError: pyspacemouse or hidapi is missing, or no device is found.
    """
    try:
        library = importlib.import_module("pyspacemouse")
        return library.open(axis_convention=library.AxisConvention.ROS)
    except ImportError as error:
        raise UserError(
            f"Reading a SpaceMouse in this process needs pyspacemouse ({error}): run `physgen setup --teleop`, "
            "or spacenav and device:=spacenav."
        ) from error
    except Exception as error:
        # The library raises bare exceptions of several kinds for a missing hidapi and for a missing device.
        raise UserError(
            f"No SpaceMouse can be opened ({error}): is it plugged in, is libhidapi installed, and may this user read "
            "/dev/hidraw*?"
        ) from error


def main() -> int:
    """Run the node until it is asked to stop."""
    return run_node(NAME, SpaceMouseTeleopNode)


if __name__ == "__main__":
    sys.exit(main())
