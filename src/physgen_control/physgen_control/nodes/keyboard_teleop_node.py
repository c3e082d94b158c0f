# SPDX-License-Identifier: Apache-2.0
"""Teleoperation from a plain terminal: single keys, help and state on the screen, the terminal restored at the end."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from rclpy.executors import ExternalShutdownException

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.teleop_node import TeleopConfig, TeleopNode
from physgen_control.teleop.command import TeleopCommand
from physgen_control.teleop.keyboard import Keyboard, KeyboardConfig
from physgen_control.teleop.keys import HELP, KeyParser, Special
from physgen_control.teleop.terminal import Terminal
from physgen_control.types import SafetyState
from physgen_msgs.msg import SafetyStatus

NAME = "keyboard_teleop_node"


@dataclass(frozen=True, kw_only=True)
class KeyboardNodeConfig(TeleopConfig, KeyboardConfig):
    """Parameters of the node."""


class KeyboardTeleopNode(TeleopNode[KeyboardNodeConfig]):
    """Polls the terminal at the publishing rate; the terminal is owned by whoever made this node."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._parser = KeyParser()
        super().__init__(NAME, KeyboardNodeConfig)
        self._keyboard = Keyboard(self.config)
        self._shown = ""
        self.create_subscription(SafetyStatus, topics.SAFETY_STATUS, self._on_safety, qos.LATCHED)
        terminal.show(f"\n{HELP}\n")
        self.start()

    def read(self, now_ns: int) -> TeleopCommand:
        """Take what was typed since the last time; `now_ns` is steady time.

        Raises:
            ExternalShutdownException: The terminal was closed.
        """
        typed = self._terminal.read(0.0)
        if typed is None:
            raise ExternalShutdownException  # the terminal window was closed
        for key in self._parser.feed(typed):
            self._special(self._keyboard.press(key, now_ns))
        return self._keyboard.command(now_ns)

    def say(self, sentence: str) -> None:
        """Show a sentence on the screen."""
        self._terminal.show(f"{sentence}\n")

    def _special(self, special: Special | None) -> None:
        match special:
            case Special.QUIT:
                raise ExternalShutdownException
            case Special.HELP:
                self._terminal.show(f"\n{HELP}\n")
            case Special.HOLD:
                held = "You hold the arm; t hands it back." if self._keyboard.holding else "Handed back."
                self._terminal.show(f"{held}\n")
            case Special.FASTER | Special.SLOWER:
                self._terminal.show(f"Speed {self._keyboard.factor:g}.\n")

    def _on_safety(self, message: SafetyStatus) -> None:
        who = "you are in command" if message.intervention else ""
        moves = message.state == SafetyState.ARMED
        # A refused chunk of a policy is expected while a human is in command: no news for this screen.
        why = "" if moves or message.intervention else message.detail
        line = ", ".join(part for part in (SafetyState(message.state).name, who, why) if part)
        if line != self._shown:
            self._shown = line
            self._terminal.show(f"[{line}]\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the node in this terminal until Ctrl-C."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Move the arm with the keyboard of this terminal.\n\n" + HELP,
        epilog="Parameters: --ros-args -p NAME:=VALUE; docs/real_robot/teleoperation.md lists them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_known_args(words)

    try:
        with Terminal() as terminal:
            return run_node(NAME, lambda: KeyboardTeleopNode(terminal))
    except UserError as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
