# SPDX-License-Identifier: Apache-2.0
"""Answers each observation at once with an applied action, in the role of policy and controller: only for benchmarks.

It reads both images, as a policy would, and prints the control steps per second of the episode it asks for.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import applied_action_to_msg, episode_from_msg, stamp_to_ns
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.stop_signals import StopSignals
from physgen_control.types import AppliedAction, Episode, EpisodePhase, Pose, Source
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import EpisodeInfo
from physgen_msgs.srv import ResetEnv

START_TIMEOUT_S = 180.0
STEP_PERIOD_NS = 50_000_000
NOWHERE = Pose(position=np.zeros(3), quaternion=np.array([0.0, 0.0, 0.0, 1.0]))


class InstantPolicyNode(Node):
    """Counts observations by their stamp; one answer per new stamp for which both images are there."""

    def __init__(self, warm_up: int, steps: int) -> None:
        super().__init__("instant_policy_node")
        self._warm_up, self._steps = warm_up, steps
        self._episode: Episode | None = None
        self._newest = {"fixed": -1, "wrist": -1}
        self._answered_ns = -1
        self._begin = 0.0
        self.rate: float | None = None
        self.problem = ""
        for camera in self._newest:
            self.create_subscription(
                Image,
                topics.image_topic(camera),
                lambda message, name=camera: self._on_image(name, message),
                qos.LOCKSTEP_READER,
            )
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        self._actions = self.create_publisher(AppliedActionMsg, topics.APPLIED_ACTION, qos.COMMAND)
        self._client = self.create_client(ResetEnv, topics.RESET_ENV)

    def run(self) -> int:
        """Ask for an episode and answer it; 0 when the rate is known."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self._client.service_is_ready() and self._actions.get_subscription_count() > 0):
            rclpy.spin_once(self, timeout_sec=0.1)
            if time.monotonic() > deadline:
                sys.stderr.write("instant_policy_node: no bridge came up.\n")
                return 1
        # One more than is measured, so that the last measured observation still gets its stamp.
        self._client.call_async(ResetEnv.Request(init_state=-1, max_steps=self._warm_up + self._steps + 1))
        while self.rate is None and not self.problem and time.monotonic() < deadline + START_TIMEOUT_S:
            rclpy.spin_once(self, timeout_sec=0.1)
        if self.rate is None:
            sys.stderr.write(f"instant_policy_node: {self.problem or 'the episode did not end'}\n")
            return 1
        sys.stdout.write(f"{self.rate}\n")
        return 0

    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        if episode.phase == EpisodePhase.RUNNING:
            self._episode = episode
            self._answer()
        elif self._episode is not None and self.rate is None:
            self.problem = f"The episode ended early ({episode.phase.name}): {episode.detail}"

    def _on_image(self, name: str, message: Image) -> None:
        np.frombuffer(message.data, dtype=np.uint8)
        self._newest[name] = stamp_to_ns(message.header.stamp)
        self._answer()

    def _answer(self) -> None:
        stamp_ns, other_ns = self._newest.values()
        episode = self._episode
        if (
            episode is None
            or stamp_ns != other_ns
            or stamp_ns < episode.start_ns
            or stamp_ns <= self._answered_ns
        ):
            return
        self._answered_ns = stamp_ns
        step = round((stamp_ns - episode.start_ns) / STEP_PERIOD_NS)
        if step == self._warm_up:
            self._begin = time.perf_counter()
        if step == self._warm_up + self._steps:
            self.rate = self._steps / (time.perf_counter() - self._begin)
            return
        values = np.zeros(7, dtype=np.float32)
        values[:3] = 0.01 * np.array([np.sin(step / 5), np.cos(step / 7), np.sin(step / 3)])
        values[6] = 1.0
        action = AppliedAction(
            stamp_ns=stamp_ns,
            state_stamp_ns=stamp_ns,
            session_id="",
            episode_id=episode.episode_id,
            step=step,
            chunk_seq=0,
            base_step=step,
            step_index=0,
            chunk_index=0,
            source=Source.HOLD,
            executed=True,
            raw=values,
            applied=values,
            target_pose=NOWHERE,
            gripper_width=0.08,
        )
        self._actions.publish(applied_action_to_msg(action))


def main() -> int:
    """Run one measured episode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    status = 1

    def spin(node: InstantPolicyNode, _signals: StopSignals) -> None:
        nonlocal status
        status = node.run()

    def make() -> InstantPolicyNode:
        return InstantPolicyNode(options.warm_up, options.steps)

    run_node("instant_policy_node", make, spin=spin)
    return status


if __name__ == "__main__":
    sys.exit(main())
