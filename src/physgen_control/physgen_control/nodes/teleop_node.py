# SPDX-License-Identifier: Apache-2.0
"""What all teleoperation nodes share: a steady rate, /teleop/joy and /teleop/twist, episode buttons, a quiet end.

The twist is published only while the deadman is down; the buttons always, so that a release is repeated and a dead
device is noticed by its silence.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from geometry_msgs.msg import TwistStamped, Vector3
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Joy

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import make_header
from physgen_control.nodes.episode_client import EpisodeClient, EpisodeConfig
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import TeleopCommand


@dataclass(frozen=True, kw_only=True)
class TeleopConfig(EpisodeConfig):
    """Parameters of every teleoperation node."""

    rate: float = parameter(
        40.0,
        description="Rate of twists and buttons: at least twice the control rate",
        unit="Hz",
        ge=5.0,
        le=200.0,
    )
    takeover: str = parameter(
        "deadman",
        description="What takes over from a policy: the deadman alone, or only a motion while it is down "
        "(for require_deadman, where the same button lets the policy move)",
        choices=("deadman", "motion"),
    )


ConfigT = TypeVar("ConfigT", bound=TeleopConfig)


class TeleopNode(GuardedNode, Generic[ConfigT]):
    """Publishes what `read` returns; every callback runs on the one executor thread."""

    def __init__(self, name: str, kind: type[ConfigT]) -> None:
        super().__init__(name)
        self.config = declare_from(self, kind)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._twists = self.create_publisher(TwistStamped, topics.TELEOP_TWIST, qos.COMMAND)
        self._joys = self.create_publisher(Joy, topics.TELEOP_JOY, qos.COMMAND)

    def start(self) -> None:
        """Begin to publish; called last in a constructor."""
        self._episodes = EpisodeClient(self, self.config, self.say)
        # A wall timer: simulated time may stand still.
        self.create_timer(1.0 / self.config.rate, self._publish, clock=self._steady)

    @abstractmethod
    def read(self, now_ns: int) -> TeleopCommand:
        """Return the device's command now; `now_ns` is steady time."""

    def say(self, sentence: str) -> None:
        """Tell the person at the device."""
        self.get_logger().info(sentence)

    def steady_ns(self) -> int:
        """Return the time of a clock that never stops."""
        return int(self._steady.now().nanoseconds)

    def _publish(self) -> None:
        command = self.read(self.steady_ns())
        self._episodes.update(command.buttons)
        header = make_header(max(int(self.get_clock().now().nanoseconds), 0), "base")
        # The buttons first: a twist counts only when the deadman is known to be down.
        self._joys.publish(Joy(header=header, buttons=command.joy_buttons()))
        wins = command.deadman if self.config.takeover == "deadman" else command.acts
        if wins:
            twist = TwistStamped(header=header)
            linear, angular = command.twist[:3].tolist(), command.twist[3:].tolist()
            twist.twist.linear = Vector3(x=linear[0], y=linear[1], z=linear[2])
            twist.twist.angular = Vector3(x=angular[0], y=angular[1], z=angular[2])
            self._twists.publish(twist)
