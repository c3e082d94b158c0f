# SPDX-License-Identifier: Apache-2.0
"""A human with a gamepad, a SpaceMouse or a GELLO beside the policy of ArmProbe, all in the test process."""

from collections.abc import Callable
from typing import Any

import numpy as np
from arm_probe import ArmProbe
from geometry_msgs.msg import Twist
from sensor_msgs.msg import JointState, Joy

from physgen_control.motion import kinematics
from physgen_control.nodes import qos
from physgen_control.types import Source

DEADMAN, CLOSE, OPEN = 5, 0, 1
PERIOD_S = 0.025


class HumanProbe(ArmProbe):
    """Devices publish by a timer while they are plugged in."""

    def __init__(self, domain_id: int) -> None:
        super().__init__(domain_id)
        self.axes = [0.0] * 8
        self.buttons = [0] * 12
        self.puck = np.zeros(6)
        self.leader = kinematics.HOME.copy()
        self.plugged = True
        self._joy = self.node.create_publisher(Joy, "/joy", qos.COMMAND)
        self._spacenav = self.node.create_publisher(Twist, "/spacenav/twist", qos.COMMAND)
        self._gello = self.node.create_publisher(JointState, "/gello/joint_states", qos.COMMAND)
        self.node.create_timer(PERIOD_S, self.publish)

    def publish(self) -> None:
        if not self.plugged:
            return
        self._joy.publish(Joy(axes=self.axes, buttons=self.buttons))
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.linear.z = self.puck[:3].tolist()
        twist.angular.x, twist.angular.y, twist.angular.z = self.puck[3:].tolist()
        self._spacenav.publish(twist)
        names = [f"fr3_joint{number}" for number in range(1, 8)]
        self._gello.publish(JointState(name=names, position=self.leader.tolist()))

    def hold(self, *buttons: int) -> None:
        """Press exactly these buttons of the gamepad."""
        self.buttons = [int(index in buttons) for index in range(12)]
        self.publish()

    def push(self, **deflections: float) -> None:
        """Deflect sticks: forward and left -1 .. 1."""
        self.axes[1], self.axes[0] = deflections.get("forward", 0.0), deflections.get("left", 0.0)
        self.publish()

    def steps(self, source: Source, since: int = 0) -> list[Any]:
        return [action for action in self.applied[since:] if action.source == source]

    def applied_by(self, source: Source, since: int) -> Callable[[], bool]:
        """A condition: an action of this source was applied after the first `since` ones."""
        return lambda: bool(self.steps(source, since))

    @property
    def intervention(self) -> bool:
        return bool(self.safety) and self.safety[-1].intervention

    @property
    def tool(self) -> np.ndarray:
        return self.seen.tcp_pose.position.copy()


TELEOP, POLICY, HOLD = Source.TELEOP, Source.POLICY, Source.HOLD
