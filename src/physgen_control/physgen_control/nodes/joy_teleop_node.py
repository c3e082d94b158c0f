# SPDX-License-Identifier: Apache-2.0
"""Teleoperation with a gamepad: from the topic /joy, or from a joystick device of Linux."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from sensor_msgs.msg import Joy

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.teleop_node import TeleopConfig, TeleopNode
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import RELEASED, TeleopCommand
from physgen_control.teleop.gamepad import Gamepad, GamepadConfig
from physgen_control.teleop.joystick import JoystickState

NAME = "joy_teleop_node"


@dataclass(frozen=True, kw_only=True)
class JoyConfig(TeleopConfig, GamepadConfig):
    """Parameters of the node."""

    device: str = parameter("", description="Joystick device such as /dev/input/js0; empty: the topic /joy")
    input_timeout: float = parameter(
        0.25, description="A message older than this counts as released (topic)", unit="s", ge=0.02, le=5.0
    )

    def __post_init__(self) -> None:
        """Check axes and buttons."""
        GamepadConfig.__post_init__(self)


class JoyTeleopNode(TeleopNode[JoyConfig]):
    """Turns the newest reading of a gamepad into commands."""

    def __init__(self) -> None:
        super().__init__(NAME, JoyConfig)
        self._core = Gamepad(self.config)
        self._state = JoystickState()
        self._newest_ns: int | None = None
        self._fd = -1
        if self.config.device:
            self._fd = _open(self.config.device)
            self.say(f"Reading {self.config.device}.")
        else:
            self.create_subscription(Joy, topics.JOY, self._on_joy, qos.COMMAND)
        self.start()

    def read(self, now_ns: int) -> TeleopCommand:
        """Return the command of the newest reading; none that is recent means released."""
        if self._fd >= 0:
            self._poll(now_ns)
        if self._newest_ns is None or now_ns - self._newest_ns > round(self.config.input_timeout * 1e9):
            return RELEASED
        return self._core.read(self._state.axes, self._state.buttons)

    def destroy_node(self) -> None:
        """Close the device, then the node."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().destroy_node()

    def _on_joy(self, message: Joy) -> None:
        self._state.axes, self._state.buttons = list(message.axes), list(message.buttons)
        self._newest_ns = self.steady_ns()

    def _poll(self, now_ns: int) -> None:
        try:
            while data := os.read(self._fd, 4096):
                self._state.feed(data)
            gone = "end of file"
        except BlockingIOError:
            gone = ""
        except OSError as error:
            gone = str(error)
        if gone:
            raise UserError(f"The gamepad {self.config.device} cannot be read any more ({gone}).")
        self._newest_ns = now_ns  # the device speaks only of changes


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(
            f"The gamepad {path} cannot be opened ({error.strerror}): is it plugged in, and is this user in the group "
            "input?"
        ) from error


def main() -> int:
    """Run the node until it is asked to stop."""
    return run_node(NAME, JoyTeleopNode)


if __name__ == "__main__":
    sys.exit(main())
