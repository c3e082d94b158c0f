# SPDX-License-Identifier: Apache-2.0
"""The controller without ROS: decides which chunks are played and emits at most one applied action per control step.

One thread calls it. Times are integer nanoseconds of ROS time except in `on_wall`. An exception in any entry point
leaves the core in FAULT before it propagates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from physgen_control import gate
from physgen_control.chunk_player import PlayedAction, first_index
from physgen_control.controller_config import NS_PER_S, Mode, Pacing, seconds_to_ns
from physgen_control.controller_reports import ControllerReports
from physgen_control.controller_state import (
    STOPPING,
    SafetySnapshot,
    guarded,
)
from physgen_control.geometry import moved, normalized
from physgen_control.limits import limit_motion
from physgen_control.motion_planner import MotionPlanner, PlannedStep, PlanRefusedError
from physgen_control.state_belief import impossible_sentence
from physgen_control.types import (
    ACTION_DIM,
    AckResult,
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    EpisodePhase,
    Fault,
    Float32Array,
    Limit,
    Pose,
    RobotState,
    SafetyState,
    Source,
)

__all__ = ["ControllerCore", "MotionPlanner", "PlanRefusedError", "PlannedStep", "SafetySnapshot"]


class ControllerCore(ControllerReports):
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
        stepped_back = newest is not None and state.stamp_ns < newest.stamp_ns - NS_PER_S
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
            self._drop_chunk()  # time went back by more than reordering explains
            self._last_tick = None
        quaternion = normalized(state.tcp_pose.quaternion)
        # The value itself is kept bit for bit when it is a unit quaternion already.
        if abs(float(np.linalg.norm(state.tcp_pose.quaternion)) - 1.0) > 1e-6:
            state = replace(state, tcp_pose=Pose(position=state.tcp_pose.position, quaternion=quaternion))
        self._robot = state
        self._now_ns = max(now_ns, state.stamp_ns)
        fresh = self.config.pacing is Pacing.STATE or not gate.stale_sentence(
            state, self._now_ns, self.config
        )
        if fresh and self._faults & Fault.STATE_STALE:
            # An arm may have been moved, or its driver started anew, while nothing was heard: only arming goes on.
            if self._planner is None:
                self._faults &= ~Fault.STATE_STALE
                self._clock_jumped = False
            elif self._clock_jumped:
                self._end_jump()
            else:
                self._detail = "Robot states come again: arm again to continue."
        self._resend = self._used_stamp_ns is not None and state.stamp_ns == self._used_stamp_ns

    def _distrust(self, sentence: str) -> None:
        """A state that cannot be true: an arm that is armed stops until it is armed again."""
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

    # --- outputs ----------------------------------------------------------------------------------------------

    @guarded
    def tick(self, now_ns: int) -> AppliedAction | None:
        """Make at most one control step; None when there is nothing to do (state pacing: the world waits)."""
        self._advance(now_ns)
        self._watch_inputs()
        if self.state in (SafetyState.DISARMED, SafetyState.FAULT) or self._robot is None:
            return None
        return self._tick_state() if self.config.pacing is Pacing.STATE else self._tick_timer()

    def take_acks(self) -> list[ChunkAck]:
        """Return answers decided later than `on_chunk`: refusals of chunks that came before their episode."""
        acks = list(self._acks)
        self._acks.clear()
        return acks

    def take_trajectory(self) -> Any:
        """Return the joint trajectory to send now, once, or None; none in SHADOW."""
        trajectory = self._planner.take() if self._planner else None
        return None if self._mode is Mode.SHADOW else trajectory

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
        """Last check, because it changes what the arm will do: the chunk as a joint trajectory."""
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

    # --- steps ------------------------------------------------------------------------------------------------

    def _tick_state(self) -> AppliedAction | None:
        robot = self._robot
        assert robot is not None
        if not self._may_move():
            return None
        if self._resend:
            self._resend = False
            return self._last
        if not self._step_due(robot):
            return None
        if self._teleop_active():
            return self._emit_teleop(robot)
        played = self._player.next()
        return None if played is None else self._emit_policy(robot, played)

    def _step_due(self, robot: RobotState) -> bool:
        """The state is the one before step `_step`: its stamp says so, whatever arrived in which order."""
        if self._used_stamp_ns is not None and robot.stamp_ns <= self._used_stamp_ns:
            return False
        if self._episode is None:
            return True
        count = round((robot.stamp_ns - self._episode.start_ns) / self.config.control_period_ns)
        chunk = self._player.chunk
        if self._used_stamp_ns is None and chunk is not None and count == chunk.base_step:
            self._step = count  # this controller was started within the episode
        return count == self._step

    def _tick_timer(self) -> AppliedAction | None:
        robot, now_ns = self._robot, self._now_ns
        assert robot is not None
        if self._clock.within(self._last_tick, now_ns, self.config.control_period_ns // 2 - 1):
            return None
        self._last_tick = self._clock.mark(now_ns)
        self._watch_states(robot)
        self._watch_tracking(robot)
        if self._may_move():
            if self._teleop_active():
                return self._emit_teleop(robot)
            played = self._player.next()
            if played is not None:
                self._idle_since_ns = None
                return self._emit_policy(robot, played)
            self._note_idle()
        return self._emit_hold(robot)

    def _watch_states(self, robot: RobotState) -> None:
        """An arm whose states are old, or do not come any more, stops."""
        sentence = gate.stale_sentence(robot, self._now_ns, self.config)
        if not sentence and not self._recent(self._heard, self.config.max_state_age):
            sentence = f"No robot state came for {self.config.max_state_age:g} s (max_state_age)."
        if sentence and not self._faults & Fault.STATE_STALE:
            self._halt()
            self._raise(Fault.STATE_STALE, sentence)

    def _note_idle(self) -> None:
        if not self._played_chunk or self._faults & Fault.POLICY_LATE:
            return
        if self._idle_since_ns is None:
            self._idle_since_ns = self._now_ns
        if self._now_ns - self._idle_since_ns >= seconds_to_ns(self.config.hold_grace):
            self._raise(
                Fault.POLICY_LATE, "The chunk ended and no next one came: holding until the policy sends one."
            )

    def _emit_policy(self, robot: RobotState, played: PlayedAction) -> AppliedAction:
        chunk = self._player.chunk
        assert chunk is not None
        self._played_chunk = self._progress = True
        planned = self._planned.get(played.chunk_index * chunk.data.shape[1] + played.step_index)
        if planned is None and self._planner is not None:
            raise RuntimeError("An action of an accepted chunk was not planned.")
        if planned is None:
            limited = limit_motion(played.raw[:6], robot.tcp_pose, self.config)
            planned = PlannedStep(
                motion=limited.motion,
                limits=limited.limits,
                target_pose=moved(robot.tcp_pose, limited.motion),
                positions=np.full(7, np.nan),
            )
        return self._emit(
            robot,
            Source.POLICY,
            played.raw,
            planned,
            session_id=chunk.session_id,
            chunk_seq=chunk.chunk_seq,
            base_step=chunk.base_step,
            step_index=played.step_index,
            chunk_index=played.chunk_index,
            latency=(self._now_ns - chunk.observation_stamp_ns) / NS_PER_S,
        )

    def _emit_teleop(self, robot: RobotState) -> AppliedAction:
        raw = np.empty(ACTION_DIM, np.float32)
        raw[:6] = np.clip(self._twist * self.config.control_period, -1e3, 1e3)
        keeps = not np.isfinite(self._twist_gripper) or self._twist_gripper == 0
        raw[6] = self._gripper.current(robot.gripper_width) if keeps else np.clip(self._twist_gripper, -1, 1)
        self._progress = True
        limited = limit_motion(raw[:6], robot.tcp_pose, self.config)
        step = PlannedStep(
            motion=limited.motion,
            limits=limited.limits,
            target_pose=moved(robot.tcp_pose, limited.motion),
            positions=np.full(7, np.nan),
        )
        if self._planner is not None:
            try:
                [step] = self._planner.plan(limited.motion[None], robot, self._now_ns)
                step = replace(step, limits=step.limits | limited.limits)
            except PlanRefusedError as error:
                # The human stays in command of the fingers; the arm comes to rest by its last trajectory.
                self._detail = f"Teleop motion refused ({error.result.name}): {error}"
                flag = Limit.SINGULARITY if error.result is AckResult.IK else Limit.JOINT
                rest = np.zeros(6, np.float32)
                step = replace(step, motion=rest, target_pose=robot.tcp_pose, limits=flag)
        latency = 0.0 if self._twisted is None else (self._now_ns - self._twisted.ros_ns) / NS_PER_S
        return self._emit(robot, Source.TELEOP, raw, step, asks_gripper=not keeps, latency=latency)

    def _emit_hold(self, robot: RobotState) -> AppliedAction:
        raw = np.zeros(ACTION_DIM, np.float32)
        raw[6] = self._gripper.current(robot.gripper_width)
        step = PlannedStep(
            motion=raw[:6].copy(), limits=Limit.NONE, target_pose=robot.tcp_pose, positions=np.full(7, np.nan)
        )
        return self._emit(robot, Source.HOLD, raw, step)

    def _emit(
        self,
        robot: RobotState,
        source: Source,
        raw: Float32Array,
        planned: PlannedStep,
        *,
        asks_gripper: bool = True,
        **origin: Any,
    ) -> AppliedAction:
        """Make the step's action; without `asks_gripper` the gripper number only repeats what is in force."""
        keeps = source is Source.HOLD or not asks_gripper
        wanted = float("nan") if keeps else float(raw[6])
        gripper = self._gripper.decide(wanted, robot.gripper_width, self._now_ns)
        width = (
            self._gripper.width(gripper.command)
            if self._gripper.commanded or self._planner is None
            else float(np.clip(robot.gripper_width, 0.0, self.config.gripper_open_width))
        )
        applied = np.empty(ACTION_DIM, np.float32)
        applied[:6], applied[6] = planned.motion, gripper.command
        fields: dict[str, Any] = {
            "session_id": "", "chunk_seq": 0, "base_step": 0, "step_index": 0, "chunk_index": 0, "latency": 0.0,
        } | origin  # fmt: skip
        action = AppliedAction(
            stamp_ns=self._now_ns,
            state_stamp_ns=robot.stamp_ns,
            episode_id=self._episode.episode_id if self._episode else "",
            step=self._step,
            source=source,
            executed=self._mode is Mode.ARMED,
            raw=raw,
            applied=applied,
            target_pose=planned.target_pose,
            target_positions=planned.positions,
            gripper_width=width,
            limits=planned.limits | (Limit.GRIPPER if gripper.delayed else Limit.NONE),
            **fields,
        )
        self._step += 1
        self._used_stamp_ns, self._resend, self._last = robot.stamp_ns, False, action
        return action
