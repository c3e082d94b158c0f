# SPDX-License-Identifier: Apache-2.0
"""The scripted expert in the role of the policy: one action per new simulator state, as chunks of one action."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.messages.graph_identity import new_id
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    action_chunk_to_msg,
    applied_action_from_msg,
    episode_from_msg,
    make_header,
    sim_state_from_msg,
)
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.heartbeat import Heartbeat, Role
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter
from physgen_control.types import ActionChunk, AppliedAction, Episode, EpisodePhase, SimState
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import EpisodeInfo, PolicyStatus
from physgen_msgs.msg import SimState as SimStateMsg
from physgen_sim_bridge.experts.by_task import make_expert

POLICY_ID = "expert"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertConfig:
    """Parameters of the node."""

    sim: str = parameter("fake", description="Simulator name")
    task: str = parameter("FakePush-v0", description="Environment id")
    pace: str = parameter("lockstep", description="Pace of the world", choices=("lockstep", "realtime"))
    step_period: float = parameter(0.05, description="Control period", unit="s", ge=0.001)


class ExpertNode(GuardedNode):
    """Acts once per SimState stamp of the running episode."""

    def __init__(self) -> None:
        super().__init__("expert_node")
        self.config = declare_from(self, ExpertConfig)
        self._period_ns = round(self.config.step_period * 1e9)
        self._expert = make_expert(self.config.sim, self.config.task)
        self._task = self.config.task
        self._episode: Episode | None = None
        self._ended = ""
        self._session_id = ""
        self._sent = 0
        self._next_step = 0
        self._newest_ns = -1
        self._waiting: SimState | None = None  # first state of an episode not announced yet
        self._chunks = self.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
        self._status = self.create_publisher(PolicyStatus, topics.POLICY_STATUS, qos.LATCHED)
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        self.create_subscription(SimStateMsg, topics.SIM_STATE, self._on_state, qos.LOCKSTEP_READER)
        self.create_subscription(AppliedActionMsg, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        Heartbeat(self, Role.POLICY)
        self._publish_status("The expert waits for an episode.")

    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        if episode.phase != EpisodePhase.RUNNING:
            self._ended = episode.episode_id
            if self._episode is not None and self._episode.episode_id == episode.episode_id:
                self._episode = None
                self._publish_status("The episode is over.")
            return
        if self._episode is not None and self._episode.episode_id == episode.episode_id:
            return
        try:
            if episode.task != self._task:
                self._expert, self._task = make_expert(self.config.sim, episode.task), episode.task
        except UserError as error:
            self.get_logger().error(str(error))
            self._episode = None
            self._publish_status(str(error), ready=False)
            return
        self._episode = episode
        self._session_id = new_id()
        self._sent, self._next_step, self._newest_ns = 0, 0, -1
        self._expert.reset()
        self._publish_status(f"Acting in episode {episode.episode_id}.")
        if self._waiting is not None:
            self._act(self._waiting)

    def _on_applied(self, message: AppliedActionMsg) -> None:
        action: AppliedAction = applied_action_from_msg(message)
        if self._episode is not None and action.episode_id == self._episode.episode_id:
            self._next_step = max(self._next_step, action.step + 1)

    def _on_state(self, message: SimStateMsg) -> None:
        self._act(sim_state_from_msg(message))

    def _act(self, state: SimState) -> None:
        episode = self._episode
        if state.episode_id == self._ended:
            return
        if episode is None or state.episode_id != episode.episode_id:
            self._waiting = state
            return
        self._waiting = None
        if state.stamp_ns <= self._newest_ns:
            return  # a repeated observation: the controller repeats its answer
        self._newest_ns = state.stamp_ns
        action = self._expert.act(state.objects, state.tcp_pose, state.gripper_width)
        counted = round((state.stamp_ns - episode.start_ns) / self._period_ns)
        # In lockstep the state's number is the step; in real time the controller counts, also its holds.
        base_step = counted if self.config.pace == "lockstep" else self._next_step
        chunk = ActionChunk.of(
            action[None],
            session_id=self._session_id,
            episode_id=episode.episode_id,
            chunk_seq=self._sent,
            base_step=base_step,
            stamp_ns=state.stamp_ns,
            step_period_ns=self._period_ns,
            instruction=episode.instruction,
            policy_id=POLICY_ID,
        )
        self._sent += 1
        self._chunks.publish(action_chunk_to_msg(chunk))

    def _publish_status(self, detail: str, *, ready: bool = True) -> None:
        self._status.publish(
            PolicyStatus(
                header=make_header(max(self.get_clock().now().nanoseconds, 0), ""),
                session_id=self._session_id,
                policy_id=POLICY_ID,
                ready=ready,
                instruction=self._episode.instruction if self._episode else "",
                predictions=self._sent,
                detail=detail,
            )
        )


def main() -> int:
    """Run the node until it is asked to stop; 2 when it cannot start."""
    return run_node("expert_node", ExpertNode)


if __name__ == "__main__":
    sys.exit(main())
