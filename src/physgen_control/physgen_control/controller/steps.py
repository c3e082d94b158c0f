# SPDX-License-Identifier: Apache-2.0
"""One control step: who acts (a human, the policy's chunk, nobody), and the action that says so.

A step holds unless there is a reason to move. What an action claims was planned and sent; nothing else can be claimed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from physgen_control.controller import gate
from physgen_control.controller.chunk_player import PlayedAction
from physgen_control.controller.reports import ControllerReports
from physgen_control.controller.state import (
    guarded,
)
from physgen_control.controller_config import Mode, Pacing, seconds_to_ns
from physgen_control.geometry import moved
from physgen_control.motion.limits import limit_motion
from physgen_control.motion.motion_planner import PlannedStep, PlanRefusedError
from physgen_control.types import (
    ACTION_DIM,
    NS_PER_S,
    AckResult,
    AppliedAction,
    ChunkAck,
    Fault,
    Float32Array,
    Limit,
    RobotState,
    SafetyState,
    Source,
)


class ControllerSteps(ControllerReports):
    """Makes at most one applied action per control step."""

    # --- outputs ----------------------------------------------------------------------------------------------

    @guarded
    def tick(self, now_ns: int) -> AppliedAction | None:
        """Make at most one control step; None when there is nothing to do (state pacing: the world waits)."""
        self._advance(now_ns)
        self._watch_inputs()
        if self.state in (SafetyState.DISARMED, SafetyState.FAULT) or self._robot is None:
            return None
        return self._tick_state() if self.config.pacing is Pacing.STATE else self._tick_timer()

    def as_sent(self, action: AppliedAction) -> AppliedAction:
        """Return an action of `tick` as it is true after its trajectory was sent, or withdrawn as too late."""
        robot = self._robot
        if action is not self._unsent or action.source is not Source.TELEOP or robot is None:
            return action
        applied = action.applied.copy()
        applied[:6] = 0.0
        return replace(
            action,
            applied=applied,
            target_pose=robot.tcp_pose,
            target_positions=np.full(7, np.nan),
            limits=action.limits | Limit.JOINT,
        )

    def take_acks(self) -> list[ChunkAck]:
        """Return answers decided later than `on_chunk`: refusals of chunks that came before their episode."""
        acks = list(self._acks)
        self._acks.clear()
        return acks

    def take_trajectory(self) -> Any:
        """Return the joint trajectory to send now, once; None when there is none, and always in SHADOW."""
        if self._planner is not None and self._clock_doubted:
            self._planner.start_on_arrival()
        trajectory = self._planner.take() if self._planner else None
        return None if self._mode is Mode.SHADOW else trajectory

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
        """Return whether the state is the one before step `_step`: by its stamp, in whatever order they arrived."""
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
        """Stop an arm whose states are old, or do not come any more."""
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
        planned = self._planned.get(played.step_index)  # lookahead is never planned
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
        twisted = self._twisted
        assert twisted is not None
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
        latency = (self._now_ns - twisted.ros_ns) / NS_PER_S
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
        """Make the step's action; without `asks_gripper` the gripper number only repeats what is in force.

        Raises:
            RuntimeError: The action moves an arm, but no joint positions were sent for it.
        """
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
        if self._planner is not None and applied[:6].any() and not np.all(np.isfinite(planned.positions)):
            raise RuntimeError("An action that moves the arm has no joint positions that were sent.")
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
