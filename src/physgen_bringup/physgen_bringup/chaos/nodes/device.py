# SPDX-License-Identifier: Apache-2.0
"""The device in a person's hand: what is held down or pushed is sent again and again, as real ones do."""

from __future__ import annotations

from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Joy

from physgen_control.messages import topics
from physgen_control.nodes import qos

PERIOD_S = 0.025


class Device:
    """Publishes `twist` [m/s, rad/s] and `buttons` (0 or 1) while they are not None."""

    def __init__(self, node: Node) -> None:
        self.twist: list[float] | None = None
        self.buttons: list[int] | None = None
        self._clock = node.get_clock()
        self._twists = node.create_publisher(TwistStamped, topics.TELEOP_TWIST, qos.COMMAND)
        self._joys = node.create_publisher(Joy, topics.TELEOP_JOY, qos.COMMAND)
        node.create_timer(PERIOD_S, self._send, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def fall_silent(self) -> None:
        """Send nothing any more, as a device that is not there."""
        self.twist = self.buttons = None

    def _send(self) -> None:
        if self.buttons is not None:
            joy = Joy(buttons=self.buttons)
            joy.header.stamp = self._clock.now().to_msg()
            self._joys.publish(joy)
        if self.twist is not None:
            message = TwistStamped()
            message.header.stamp = self._clock.now().to_msg()
            linear, angular = message.twist.linear, message.twist.angular
            linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, self.twist)
            self._twists.publish(message)
