# SPDX-License-Identifier: Apache-2.0
"""Plays recorded episodes: publishes their applied actions as chunks, in the role of the policy.

For each episode it takes the bag of the same task and seed. It publishes the first chunk at the first robot
state of the episode and each further one at the first state after the chunk before was applied.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from sensor_msgs.msg import JointState

from physgen_control.bags.replay import REPLAYED_SOURCES, BagIndex, ReplayPlayer
from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.messages.graph_identity import new_id
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    action_chunk_to_msg,
    applied_action_from_msg,
    chunk_ack_from_msg,
    episode_from_msg,
    make_header,
    stamp_to_ns,
)
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter
from physgen_control.types import AckResult, EpisodePhase
from physgen_msgs.msg import ActionChunk, AppliedAction, ChunkAck, EpisodeInfo, PolicyStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Parameters of the node."""

    bag_dir: str = parameter("", description="A recorded bag or a folder of them")
    step_period: float = parameter(
        0.05, description="Control period of the recorded actions", unit="s", ge=0.001
    )


class ReplayNode(GuardedNode):
    """Feeds a ReplayPlayer with episodes, states and applied actions."""

    def __init__(self) -> None:
        super().__init__("replay_node")
        self.config = declare_from(self, ReplayConfig)
        if not self.config.bag_dir:
            raise UserError("The parameter bag_dir must name a recorded bag or a folder of bags.")
        self.index = BagIndex.of(self.config.bag_dir)
        for reason in self.index.left_out:
            self.get_logger().warning(f"left out: {reason}")
        self._period_ns = round(self.config.step_period * 1e9)
        self._player: ReplayPlayer | None = None
        self._episode_id = ""
        self._session_id = ""
        self._sent = 0  # chunks sent since it began
        self._remaining = 0  # actions of it that were not applied yet
        self._step = -1  # newest applied step
        self._used_ns = -1  # stamp of the state that the newest applied action was computed from
        self._newest_ns = -1  # stamp of the newest robot state
        self._chunks = self.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
        self._status = self.create_publisher(PolicyStatus, topics.POLICY_STATUS, qos.LATCHED)
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        self.create_subscription(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        self.create_subscription(ChunkAck, topics.CHUNK_ACK, self._on_ack, qos.COMMAND)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_state, qos.LOCKSTEP_READER)
        Heartbeat(self, Role.POLICY)
        self._publish_status(True, f"{len(self.index.bags)} bags in {self.index.folder}.")

    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        if episode.phase != EpisodePhase.RUNNING:
            if episode.episode_id == self._episode_id and self._player is not None:
                self._player = None
                self._publish_status(True, "The episode is over.")
            return
        if episode.episode_id == self._episode_id:
            return
        self._episode_id = episode.episode_id
        self._session_id = new_id()
        self._sent, self._remaining, self._step, self._used_ns = 0, 0, -1, -1
        self._player = None
        try:
            bag = self.index.find(episode.task, episode.seed)
            self._player = ReplayPlayer.of_bag(episode, bag.path, self._session_id)
        except UserError as error:
            self.get_logger().error(str(error))
            self._publish_status(False, str(error))
            return
        self._publish_status(True, f"Replaying {len(self._player.actions)} actions of {bag.path}.")
        self._advance()

    def _on_applied(self, message: AppliedAction) -> None:
        action = applied_action_from_msg(message)
        if self._player is None or action.episode_id != self._episode_id or action.step <= self._step:
            return
        self._step = action.step
        self._used_ns = action.state_stamp_ns
        if action.source in REPLAYED_SOURCES and action.session_id == self._session_id:
            self._remaining -= 1
        self._advance()

    def _on_state(self, message: JointState) -> None:
        self._newest_ns = stamp_to_ns(message.header.stamp)
        self._advance()

    def _on_ack(self, message: ChunkAck) -> None:
        ack = chunk_ack_from_msg(message)
        if ack.session_id == self._session_id and ack.result not in (AckResult.ACCEPTED, AckResult.SHADOW):
            sentence = f"The controller refused chunk {ack.chunk_seq} ({ack.result.name}): {ack.detail}"
            self.get_logger().error(sentence)
            self._publish_status(True, sentence)

    def _advance(self) -> None:
        """Publish the next chunk when there is a state newer than the one the last action came from.

        State, applied action and episode come on different topics in any order: each of them calls this.
        """
        player, stamp_ns = self._player, self._newest_ns
        if player is None or self._remaining > 0:
            return
        if stamp_ns < player.episode.start_ns or stamp_ns <= self._used_ns:
            return
        ended = player.finished
        chunk = player.next_chunk(
            base_step=self._step + 1,
            observation_ns=stamp_ns,
            now_ns=max(stamp_ns, self.get_clock().now().nanoseconds),
            step_period_ns=self._period_ns,
        )
        self._remaining = chunk.execute_steps
        self._sent += 1
        self._chunks.publish(action_chunk_to_msg(chunk))
        if player.finished and not ended:
            self._publish_status(True, f"Sent all {len(player.actions)} recorded actions.")

    def _publish_status(self, ready: bool, detail: str) -> None:
        player = self._player
        self._status.publish(
            PolicyStatus(
                header=make_header(self.get_clock().now().nanoseconds, ""),
                session_id=self._session_id,
                policy_id="replay",
                ready=ready,
                instruction=player.episode.instruction if player else "",
                predictions=self._sent,
                detail=detail,
            )
        )


def main() -> int:
    """Run the node until it is asked to stop; 2 when it cannot start."""
    return run_node("replay_node", ReplayNode)


if __name__ == "__main__":
    sys.exit(main())
