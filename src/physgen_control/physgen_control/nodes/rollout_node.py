# SPDX-License-Identifier: Apache-2.0
"""Serves /physgen/run_policy: one rollout of the running policy at a time, simulated or real, recorded or not.

Episodes are begun and ended by whoever owns them: the simulation, the recorder on a real arm, or this node where there
is no recorder. Cancelling means HOLD.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.task import Future
from std_srvs.srv import Trigger

from physgen_control.controller.rollout import Limits, Rollout, Termination
from physgen_control.messages import topics
from physgen_control.messages.graph_identity import new_id
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    applied_action_from_msg,
    chunk_ack_from_msg,
    episode_from_msg,
)
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.own_episode import OwnEpisode
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter
from physgen_control.types import Episode, EpisodePhase, SafetyState
from physgen_msgs.action import RunPolicy
from physgen_msgs.msg import AppliedAction, ChunkAck, EpisodeInfo, PolicyStatus, SafetyStatus
from physgen_msgs.srv import ResetEnv, SetInstruction, StartEpisode, StopEpisode

NAME = "rollout_node"
TICK_S = 0.1
ANSWER_S = 30.0
"""A simulation that is started anew takes seconds."""
MOST_EARLY = 10_000
READY_S = 10.0
"""Nodes that were started together find each other within seconds."""
SILENT = "no answer."
NOT_HELD = "Cancelled, but the controller did not say that it holds: use the user stop."
WORDS = {
    Termination.STEP_LIMIT: "The step limit is reached.",
    Termination.TIMEOUT: "The time is over.",
    Termination.CANCELLED: "Cancelled: the arm holds; /physgen/set_armed lets it move again.",
    Termination.ABORTED: "Another episode has begun, or somebody ended this one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutNodeConfig:
    """Parameters of the node."""

    simulated: bool = parameter(False, description="A simulation announces the episodes")
    robot: str = parameter("fr3", description="Robot name in the episodes that this node starts")
    task: str = parameter("", description="Task name in the episodes that this node starts")


class RolloutNode(GuardedNode):
    """Feeds a Rollout from the topics and answers the action's client."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.config = declare_from(self, RolloutNodeConfig)
        self._safety: SafetyState | None = None
        self._policy = "no policy has said anything yet"  # why it is not ready; empty: it is
        self._rollout: Rollout | None = None
        self._early: list[Callable[[Rollout], None]] = []
        self._busy = False
        self._steps = 0  # of the last rollout
        self._over: Future | None = None
        self._handle: Any = None
        self._own_episode = OwnEpisode(self)
        self._waiting: list[tuple[Future, float]] = []
        self._gathering: tuple[Any, Future, float] | None = None
        self._reset = self.create_client(ResetEnv, topics.RESET_ENV)
        self._start = self.create_client(StartEpisode, topics.START_EPISODE)
        self._stop = self.create_client(StopEpisode, topics.STOP_EPISODE)
        self._hold = self.create_client(Trigger, topics.HOLD)
        self._instruct = self.create_client(SetInstruction, topics.SET_INSTRUCTION)
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        self.create_subscription(SafetyStatus, topics.SAFETY_STATUS, self._on_safety, qos.LATCHED)
        self.create_subscription(PolicyStatus, topics.POLICY_STATUS, self._on_policy, qos.LATCHED)
        self.create_subscription(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.COMMAND)
        self.create_subscription(ChunkAck, topics.CHUNK_ACK, self._on_ack, qos.COMMAND)
        self.create_timer(TICK_S, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._server = ActionServer(
            self,
            RunPolicy,
            topics.RUN_POLICY,
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _handle: CancelResponse.ACCEPT,
        )

    # ---- topics

    def _tell(self, say: Callable[[Rollout], None]) -> None:
        """Tell the rollout what was heard.

        While its episode begins, what is heard waits: a fast simulation may have taken its steps, and ended, before its
        answer names the episode.
        """
        if self._rollout is not None:
            say(self._rollout)
            self._steps = self._rollout.steps
        elif self._busy and len(self._early) < MOST_EARLY:
            self._early.append(say)

    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        began = self._rollout is not None
        self._tell(
            lambda rollout: rollout.on_episode(episode) if began else rollout.on_early_episode(episode)
        )

    def _on_safety(self, message: SafetyStatus) -> None:
        self._safety = SafetyState(int(message.state))

    def _on_policy(self, message: PolicyStatus) -> None:
        self._policy = "" if message.ready else message.detail or "it says nothing more"

    def _on_applied(self, message: AppliedAction) -> None:
        action = applied_action_from_msg(message)
        self._tell(lambda rollout: rollout.on_applied(action))

    def _on_ack(self, message: ChunkAck) -> None:
        ack = chunk_ack_from_msg(message)
        self._tell(lambda rollout: rollout.on_ack(ack))

    def _on_tick(self) -> None:
        """Tell the client how far the rollout is, and end it where it is over."""
        for answered, deadline_s in self._waiting:
            if not answered.done() and time.monotonic() > deadline_s:
                answered.set_result(None)
        self._waiting = [entry for entry in self._waiting if not entry[0].done()]
        if self._gathering is not None:
            handle, gathered, deadline_s = self._gathering
            missing = self._missing(handle.request)
            if not missing or handle.is_cancel_requested or time.monotonic() > deadline_s:
                self._gathering = None
                gathered.set_result(missing)
        rollout, over = self._rollout, self._over
        if rollout is None or over is None or over.done():
            return
        ack = rollout.ack
        self._handle.publish_feedback(
            RunPolicy.Feedback(
                step=rollout.steps,
                state=int(self._safety or 0),
                chunk_seq=ack.chunk_seq if ack else 0,
                ack_result=int(ack.result) if ack else 0,
                ack_detail=ack.detail if ack else "",
                latency=rollout.latency_s,
            )
        )
        verdict = rollout.verdict(time.monotonic())
        if self._handle.is_cancel_requested and verdict is None:
            verdict = Termination.CANCELLED
        if verdict is not None:
            over.set_result(verdict)

    # ---- the action

    def _on_goal(self, goal: Any) -> GoalResponse:
        """Take one goal at a time; busy from here on, so that two that come together are not both begun."""
        del goal
        if self._busy:
            return GoalResponse.REJECT
        self._busy = True
        return GoalResponse.ACCEPT

    async def _execute(self, handle: Any) -> RunPolicy.Result:
        """Begin an episode, wait for its end, answer."""
        try:
            return await self._run(handle)
        finally:
            self._busy, self._rollout, self._over, self._handle = False, None, None, None
            self._early.clear()

    async def _run(self, handle: Any) -> RunPolicy.Result:
        goal = handle.request
        missing = await self._others(handle)
        if handle.is_cancel_requested:
            handle.canceled()
            return RunPolicy.Result(
                termination=int(Termination.CANCELLED), message="Cancelled before it began."
            )
        if missing:
            handle.abort()
            return RunPolicy.Result(termination=int(Termination.ABORTED), message=missing)
        episode_id, bag_path, refusal = await self._begin(goal)
        if refusal:
            handle.abort()
            return RunPolicy.Result(termination=int(Termination.ABORTED), message=refusal)
        limits = Limits(
            # A simulation counts its steps itself, and judges the last one.
            max_steps=0 if self.config.simulated else int(goal.max_steps),
            max_duration_s=float(goal.max_duration),
        )
        rollout = Rollout(episode_id, limits, time.monotonic())
        self._handle, self._over, self._rollout = handle, Future(executor=self.executor), rollout
        for say in self._early:
            say(rollout)
        termination: Termination = await self._over
        # Asked for both at once: neither waits for one that does not answer.
        hold = self._asked(self._hold, Trigger.Request()) if termination is Termination.CANCELLED else None
        await self._end(rollout, termination)
        held = await hold if hold is not None else None
        phase = rollout.ended.phase if rollout.ended is not None else None
        detail = rollout.ended.detail if rollout.ended is not None else ""
        said = WORDS.get(termination) or detail or (phase.name if phase is not None else "")
        if hold is not None and not (held and held.success):
            said = NOT_HELD
        result = RunPolicy.Result(
            success=phase is EpisodePhase.SUCCESS,
            steps=rollout.steps,
            termination=int(termination),
            bag_path=bag_path or (rollout.ended.bag_path if rollout.ended is not None else ""),
            message=said,
        )
        if termination is Termination.CANCELLED:
            handle.canceled()
        elif termination is Termination.ABORTED:
            handle.abort()
        else:
            handle.succeed()
        return result

    async def _begin(self, goal: Any) -> tuple[str, str, str]:
        """Start an episode; return its id, its bag as far as it is known, and why there is none, or an empty text."""
        recorder = self._start.service_is_ready()
        if goal.instruction and self._instruct.service_is_ready():
            answer = await self._asked(self._instruct, SetInstruction.Request(instruction=goal.instruction))
            if answer is None or not answer.success:
                why = answer.message if answer is not None else SILENT
                return "", "", f"The policy refused the instruction: {why}"
        if self.config.simulated:
            return await self._begin_simulated(goal)
        if self._safety not in (SafetyState.ARMED, SafetyState.SHADOW):
            state = self._safety.name if self._safety is not None else "silent"
            return "", "", f"The controller is {state}: let it move by /physgen/set_armed."
        if not goal.instruction.strip():
            return "", "", "A rollout on a real arm needs an instruction."
        if recorder:
            request = StartEpisode.Request(instruction=goal.instruction, task=self.config.task)
            answer = await self._asked(self._start, request)
            if answer is None or not answer.success:
                return "", "", answer.message if answer is not None else SILENT
            return answer.episode_id, answer.message, ""
        return self._announce(goal), "", ""

    def _missing(self, goal: Any) -> str:
        """Return who is not there, in a sentence; empty if everybody is."""
        if not self._hold.service_is_ready():
            return "There is no controller, so nobody could hold the arm."
        if self._policy:
            return f"The policy is not ready: {self._policy}."
        if self.config.simulated and not self._reset.service_is_ready():
            return "The simulation does not answer on /physgen/reset_env."
        if goal.record and not self._start.service_is_ready():
            return "record is asked for and there is no recorder: launch with record:=true."
        return ""

    def _others(self, handle: Any) -> Future:
        """Wait until everybody is there; the future ends with "", or with who is missing after READY_S or a cancel."""
        self._gathering = (handle, Future(executor=self.executor), time.monotonic() + READY_S)
        return self._gathering[1]

    async def _begin_simulated(self, goal: Any) -> tuple[str, str, str]:
        request = ResetEnv.Request(seed=goal.seed, init_state=-1, max_steps=goal.max_steps)
        answer = await self._asked(self._reset, request)
        if answer is None or not answer.success:
            return "", "", answer.message if answer is not None else SILENT
        return answer.episode_id, "", ""

    def _announce(self, goal: Any) -> str:
        """Begin an episode of this node's own, where nobody records."""
        episode = Episode(
            episode_id=new_id(),
            task=self.config.task,
            seed=-1,
            instruction=goal.instruction,
            start_ns=self.get_clock().now().nanoseconds,
            max_steps=int(goal.max_steps),
            robot=self.config.robot,
            source="real",
        )
        self._own_episode.begin(episode)
        return episode.episode_id

    async def _end(self, rollout: Rollout, termination: Termination) -> None:
        """End the episode where nobody else does: the policy acts for as long as it runs."""
        if self.config.simulated or rollout.ended is not None:
            return
        if self._own_episode.running:
            self._own_episode.end(WORDS.get(termination, ""), rollout.steps)
        elif self._stop.service_is_ready():
            await self._asked(self._stop, StopEpisode.Request(outcome=int(EpisodePhase.FAILURE)))

    def _asked(self, client: Client, request: Any) -> Future:
        """Ask a service; the future ends with its answer, or with None where nobody answers in ANSWER_S."""
        answered = Future(executor=self.executor)

        def take(done: Future) -> None:
            if not answered.done():
                answered.set_result(done.result())

        client.call_async(request).add_done_callback(take)
        self._waiting.append((answered, time.monotonic() + ANSWER_S))
        return answered

    def close(self) -> None:
        """Give everything back; an episode of this node's own ends with it, so that nobody acts for it any more."""
        self._own_episode.end("The rollout node was stopped.", self._steps)
        self._own_episode.wait_until_heard()
        self._server.destroy()
        self.destroy_node()


def main() -> int:
    """Run the node until it is asked to stop."""
    return run_node(NAME, RolloutNode, close=RolloutNode.close)


if __name__ == "__main__":
    sys.exit(main())
