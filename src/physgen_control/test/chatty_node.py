# SPDX-License-Identifier: Apache-2.0
"""A node for the tests of stopping: it converts large messages all the time, and says when it starts and ends."""

import sys
import time

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from physgen_control.nodes import qos
from physgen_control.nodes.lifetime import run_node


class ChattyNode(Node):
    """Hears itself at full speed; `last_words` are published when it closes."""

    def __init__(self) -> None:
        if "slow" in sys.argv:
            sys.stdout.write("making\n")
            sys.stdout.flush()
            time.sleep(60.0)
        super().__init__("chatty_node")
        self._publisher = self.create_publisher(JointState, "chatter", qos.COMMAND)
        self._last_words = self.create_publisher(String, "last_words", qos.LATCHED)
        self.create_subscription(JointState, "chatter", self._on_state, qos.COMMAND)
        self._count = 0
        self.create_timer(0.001, self._say)

    def close(self) -> None:
        """Speak with the context alive."""
        self._last_words.publish(String(data="goodbye"))
        sys.stdout.write("closed\n")
        self.destroy_node()

    def _say(self) -> None:
        names = [f"joint_{index}" for index in range(500)]
        self._publisher.publish(JointState(name=names, position=[float(self._count)] * 500))

    def _on_state(self, message: JointState) -> None:
        self._count += len(message.name) // 500
        if self._count == 20:
            sys.stdout.write("chatting\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run_node("chatty_node", ChattyNode, close=ChattyNode.close))
