# SPDX-License-Identifier: Apache-2.0
"""A policy as a ROS node of its own, in a process of its own: the hand sinks. See docs/own_things.md.

    ROS_DOMAIN_ID=7 ./physgen launch policy:=external sim:=fake &
    ROS_DOMAIN_ID=7 ./physgen python examples/external_policy.py

It needs rclpy and physgen_msgs alone. In lockstep observation n is stamped `start + n * 50 ms`.
"""

import signal
from threading import Event

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from physgen_msgs.msg import ActionChunk, ChunkAck, EpisodeInfo

STEPS, PERIOD = 8, 50_000_000  # actions of a chunk; nanoseconds from one to the next


def nanoseconds(stamp) -> int:  # noqa: ANN001  (builtin_interfaces/Time)
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


class Sinking(Node):
    def __init__(self) -> None:
        super().__init__("sinking")
        self.episode = EpisodeInfo()
        self.sent = 0
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.chunks = self.create_publisher(ActionChunk, "/physgen/action_chunk", 10)
        self.create_subscription(EpisodeInfo, "/physgen/episode_info", self.on_episode, latched)
        self.create_subscription(JointState, "/joint_states", self.on_state, 10)
        self.create_subscription(ChunkAck, "/physgen/chunk_ack", self.on_ack, 10)

    def on_episode(self, message: EpisodeInfo) -> None:
        if message.episode_id != self.episode.episode_id:
            self.sent = 0
        self.episode = message

    def on_ack(self, message: ChunkAck) -> None:
        if message.result not in (ChunkAck.ACCEPTED, ChunkAck.SHADOW):
            self.get_logger().error(f"chunk {message.chunk_seq} was refused: {message.detail}")

    def on_state(self, message: JointState) -> None:
        elapsed = nanoseconds(message.header.stamp) - nanoseconds(self.episode.header.stamp)
        step = round(elapsed / PERIOD)
        if self.episode.phase != EpisodeInfo.RUNNING or step != self.sent * STEPS:
            return
        if not self.chunks.get_subscription_count():
            return  # the controller was not found yet; the world repeats what nobody answered
        actions = np.zeros((1, STEPS, 7), np.float32)  # x, y, z [m], rotation vector [rad], gripper
        actions[..., 2], actions[..., 6] = -0.005, 1.0
        chunk = ActionChunk(
            schema_version=ActionChunk.SCHEMA_VERSION,
            session_id=f"{self.episode.episode_id}-sinking",
            episode_id=self.episode.episode_id,
            chunk_seq=self.sent,
            base_step=step,
            observation_stamp=message.header.stamp,
            action_space=ActionChunk.EE_DELTA,
            rotation=ActionChunk.ROTATION_AXIS_ANGLE,
            delta_reference=ActionChunk.REFERENCE_MEASURED,
            gripper_mode=ActionChunk.GRIPPER_SIGNED_PM1,
            num_chunks=1,
            horizon=STEPS,
            action_dim=7,
            execute_steps=STEPS,
            data=actions.ravel(),
            policy_id="sinking",
        )
        chunk.header.stamp, chunk.header.frame_id = message.header.stamp, "base"
        chunk.step_period.nanosec = PERIOD
        self.chunks.publish(chunk)
        self.sent += 1


def main() -> None:
    # rclpy's own handlers shut the context down under a waiting node, which then sleeps on or raises.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node = Sinking()
    while not stop.is_set():
        rclpy.spin_once(node, timeout_sec=0.2)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
