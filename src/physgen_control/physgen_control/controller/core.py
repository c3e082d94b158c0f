# SPDX-License-Identifier: Apache-2.0
"""The controller without ROS: decides which chunks are played and emits at most one applied action per control step.

One thread calls it. Times are integer nanoseconds of ROS time except in `on_wall`. An exception in any entry point
leaves the core in FAULT before it propagates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from physgen_control.controller import gate
from physgen_control.controller.chunk_player import first_index
from physgen_control.controller.fault_kinds import STOPPING
from physgen_control.controller.state import guarded
from physgen_control.controller.state_belief import impossible_sentence
from physgen_control.controller.steps import ControllerSteps
from physgen_control.controller_config import Mode, Pacing, seconds_to_ns
from physgen_control.geometry import normalized
from physgen_control.motion.motion_planner import MotionPlanner, PlannedStep, PlanRefusedError
from physgen_control.types import (
    NS_PER_S,
    AckResult,
    ActionChunk,
    ChunkAck,
    Episode,
    EpisodePhase,
    Fault,
    Pose,
    RobotState,
)

__all__ = ["ControllerCore", "MotionPlanner", "PlanRefusedError", "PlannedStep"]


class ControllerCore(ControllerSteps):
    """State machine from chunks and states to applied actions."""

    # --- inputs -----------------------------------------------------------------------------------------------

    @guarded
    def on_episode(self, episode: Episode) -> None:
        """Start, repeat or end an episode; steps restart at 0 with a new one."""
        running = self._episode
        if episode.phase is not EpisodePhase.RUNNING:
            if episode.episode_id:
                self._ended.append(episode.episode_id)
            if running is not None and episode.episode_id == running.episode_id:
                self._begin(None)
            return
        if episode.episode_id in self._ended or (
            running is not None and episode.episode_id == running.episode_id
        ):
            return
        if running is not None:
            self._ended.append(running.episode_id)
            if episode.start_ns < running.start_ns:
                self._robot = (
                    None  # time went back: the world was restarted, what was measured lies in its future
                )
        self._begin(episode)
        stash, self._stash = self._stash, None
        if stash is not None and stash.episode_id == episode.episode_id:
            ack = self._judge(stash)
            if ack.result not in (AckResult.ACCEPTED, AckResult.SHADOW):
                self._acks.append(ack)

    @guarded
    def on_state(self, state: RobotState, now_ns: int) -> None:
        """Take a measured state; repeated, older and impossible ones change nothing."""
        sentence = impossible_sentence(state)
        if not sentence:
            self._advance(now_ns)
            self._heard = self._clock.mark(now_ns)  # also when its stamp is from another time
        ahead_ns = state.stamp_ns - now_ns
        future = ahead_ns > seconds_to_ns(self.config.max_future_stamp)
        if not sentence and self.config.pacing is Pacing.TIMER and future:
            sentence = (
                f"The robot state is stamped {ahead_ns / NS_PER_S:.3f} s in the future: synchronise the clocks of "
                "robot and controller."
            )
        if sentence:
            self._detail = sentence
            return
        newest = self._robot
        stepped_back = newest is not None and state.stamp_ns <= newest.stamp_ns - NS_PER_S
        if stepped_back and self.config.pacing is Pacing.TIMER:
            self._distrust(
                f"A robot state is stamped {(now_ns - state.stamp_ns) / NS_PER_S:.3f} s before now."
            )
            return
        if newest is None or state.stamp_ns >= newest.stamp_ns:
            doubt = self._belief.doubt(state) if self._belief is not None else ""
            if doubt:
                self._distrust(doubt)
                return
        self._state_came = True
        if newest is not None and newest.stamp_ns - NS_PER_S < state.stamp_ns < newest.stamp_ns:
            return
        if newest is not None and state.stamp_ns < newest.stamp_ns:
            self._drop_chunk()  # a world that waits went back by more than reordering explains
        quaternion = normalized(state.tcp_pose.quaternion)
        # The value itself is kept bit for bit when it is a unit quaternion already.
        if abs(float(np.linalg.norm(state.tcp_pose.quaternion)) - 1.0) > 1e-6:
            state = replace(state, tcp_pose=Pose(position=state.tcp_pose.position, quaternion=quaternion))
        self._robot = state
        self._now_ns = max(now_ns, state.stamp_ns)
        fresh = self.config.pacing is Pacing.STATE or not gate.stale_sentence(
            state, self._now_ns, self.config
        )
        self._clock_doubted = self._clock_doubted and not fresh
        if fresh and self._faults & Fault.STATE_STALE:
            # An arm may have been moved, or its driver started anew, while nothing was heard: only arming goes on.
            if self._planner is None:
                self._end(Fault.STATE_STALE)
                self._clock_jumped = False
            elif self._clock_jumped:
                self._end_jump()
            else:
                self._detail = "Robot states come again: arm again to continue."
        self._resend = self._used_stamp_ns is not None and state.stamp_ns == self._used_stamp_ns

    def _distrust(self, sentence: str) -> None:
        """Stop an armed arm until it is armed again: a state cannot be true."""
        self._detail = sentence
        if self._planner is not None and self._armed and not self._faults & Fault.STATE_STALE:
            self._halt()
            self._raise(Fault.STATE_STALE, sentence)

    @guarded
    def on_chunk(self, chunk: ActionChunk, now_ns: int) -> ChunkAck:
        """Decide whether a chunk will be played; it replaces the one being played."""
        self._advance(now_ns)
        running = self._episode.episode_id if self._episode else ""
        unknown = chunk.episode_id and chunk.episode_id != running and chunk.episode_id not in self._ended
        if unknown:
            return self._stash_chunk(chunk)
        return self._judge(chunk)

    # --- chunks -----------------------------------------------------------------------------------------------

    def _stash_chunk(self, chunk: ActionChunk) -> ChunkAck:
        refusal = gate.first_refusal(
            check()
            for check in (lambda: gate.check_shape(chunk, self.config), lambda: gate.check_finite(chunk))
        )
        if refusal is not None:
            return self._refuse(chunk, refusal)
        self._stash = chunk
        return self._ack(
            chunk,
            AckResult.ACCEPTED,
            f"Waiting for episode {chunk.episode_id!r} to be announced; it is checked then.",
        )

    def _judge(self, chunk: ActionChunk) -> ChunkAck:
        config, now_ns = self.config, self._now_ns
        pose = self._robot.tcp_pose if self._robot is not None else None
        running = self._episode.episode_id if self._episode else ""
        checks: tuple[Callable[[], gate.Refusal | None], ...] = (
            lambda: gate.check_shape(chunk, config),
            lambda: gate.check_finite(chunk),
            lambda: self._sessions.check(chunk),
            lambda: gate.check_episode(chunk, running),
            self._check_allowed,
            lambda: gate.check_steps(chunk, self._step, config),
            lambda: gate.check_ages(chunk, now_ns, config),
            lambda: gate.check_state(self._robot, now_ns, config),
            lambda: gate.check_motion(chunk, self._step, pose, config),
            lambda: self._plan(chunk),
        )
        refusal = gate.first_refusal(check() for check in checks)
        if refusal is not None:
            return self._refuse(chunk, refusal)
        self._sessions.accept(chunk)
        self._player.load(chunk, self._step)
        self._faults &= ~(Fault.POLICY_LATE | Fault.CHUNK_REJECTED)
        self._progress, self._idle_since_ns = True, None
        self._detail = f"{self.state.name}: playing chunk {chunk.chunk_seq}."
        result = AckResult.SHADOW if self._mode is Mode.SHADOW else AckResult.ACCEPTED
        return self._ack(
            chunk, result, f"Actions {self._player.index} .. {chunk.execute_steps - 1} will be played."
        )

    def _check_allowed(self) -> gate.Refusal | None:
        if self._latched or not self._armed:
            why = (
                f"the cause is latched: {self._latched}"
                if self._latched
                else "arm it first (/physgen/set_armed)."
            )
            return gate.Refusal(AckResult.NOT_ARMED, f"The controller is {self.state.name}: {why}")
        if self._stop:
            return gate.Refusal(AckResult.NOT_ARMED, self._stop)
        if self._teleop_active() or self._recently_released():
            return gate.Refusal(
                AckResult.TELEOP_ACTIVE, "A human is in command: send a new chunk after the release."
            )
        if self.config.require_deadman and not self._deadman_pressed():
            return gate.Refusal(AckResult.NOT_ARMED, "The required deadman is not pressed.")
        # Without an arm the check of the state that follows decides, and names its age.
        blocking = self._faults & STOPPING & ~(Fault.NONE if self._planner is not None else Fault.STATE_STALE)
        if blocking:
            # The causes, not the newest detail: that is the refusal before this one.
            causes = " ".join(self._causes.get(fault, "") for fault in Fault if fault & blocking)
            return gate.Refusal(AckResult.NOT_ARMED, f"The controller holds ({blocking.name}): {causes}")
        return None

    def _plan(self, chunk: ActionChunk) -> gate.Refusal | None:
        """Plan the chunk as a joint trajectory; the last check, because it changes what the arm will do."""
        if self._planner is None or self._robot is None:
            return None
        first = first_index(chunk, self._step, self.config.execution)
        motions = chunk.data[0, first : chunk.execute_steps, :6]
        try:
            steps = self._planner.plan(motions, self._robot, self._now_ns)
        except PlanRefusedError as error:
            return gate.Refusal(error.result, str(error))
        self._planned = dict(enumerate(steps, first))
        return None

    def _refuse(self, chunk: ActionChunk, refusal: gate.Refusal) -> ChunkAck:
        self._faults |= Fault.CHUNK_REJECTED
        self._detail = f"Chunk {chunk.chunk_seq} refused ({refusal.result.name}): {refusal.sentence}"
        return self._ack(chunk, refusal.result, refusal.sentence)

    def _ack(self, chunk: ActionChunk, result: AckResult, detail: str) -> ChunkAck:
        return ChunkAck(
            stamp_ns=self._now_ns,
            session_id=chunk.session_id,
            episode_id=chunk.episode_id,
            chunk_seq=chunk.chunk_seq,
            result=result,
            detail=detail,
        )
