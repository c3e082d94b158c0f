# SPDX-License-Identifier: Apache-2.0
"""Checks that a chunk must pass before its first action may be played: pure functions, one refusal sentence each.

The order is fixed (shape, finite, order, episode, ages, state, motion), so that a refusal names the most basic fault.
Ages are differences of ROS time: in lockstep it stands still while the policy thinks, and then nothing ages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from physgen_control.controller.chunk_player import first_index
from physgen_control.controller_config import ArmInterface, ControllerConfig, Pacing, seconds_to_ns
from physgen_control.messages.graph_identity import is_foreign
from physgen_control.motion.limits import ROUNDING, box_excess, step_excess
from physgen_control.types import (
    ACTION_DIM,
    NS_PER_S,
    AckResult,
    ActionChunk,
    ActionSpace,
    DeltaReference,
    GripperMode,
    Pose,
    RobotState,
    Rotation,
)

_KNOWN_SESSIONS = 64
# A policy trained for another rate moves at the wrong speed; a percent covers rounding of 1/rate.
_PERIOD_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a chunk is not played."""

    result: AckResult
    """The code for programs."""
    sentence: str
    """The reason for people."""


class SessionLog:
    """Which sessions and sequence numbers were accepted: a session that was replaced never comes back.

    Args:
        graph: The controller's graph; sessions that name another one are refused. Empty: none is.
    """

    def __init__(self, graph: str = "") -> None:
        self._graph = graph
        self._current = ""
        self._last_seq: int | None = None
        self._retired: deque[str] = deque(maxlen=_KNOWN_SESSIONS)

    @property
    def last_seq(self) -> int:
        """Newest accepted chunk of the current session; 0 before the first."""
        return self._last_seq or 0

    def accept(self, chunk: ActionChunk) -> None:
        """Remember an accepted chunk."""
        if chunk.session_id != self._current and self._last_seq is not None:
            self._retired.append(self._current)
        self._current, self._last_seq = chunk.session_id, chunk.chunk_seq

    def check(self, chunk: ActionChunk) -> Refusal | None:
        """Refuse chunks of another graph, and those that do not come after the accepted ones."""
        if is_foreign(chunk.session_id, self._graph):
            return Refusal(
                AckResult.OUT_OF_ORDER,
                f"Session {chunk.session_id!r} belongs to another graph in the same DDS domain: give each graph a "
                "ROS_DOMAIN_ID of its own.",
            )
        if chunk.session_id in self._retired:
            return Refusal(
                AckResult.OUT_OF_ORDER,
                f"Session {chunk.session_id!r} was replaced by {self._current!r}: a restarted policy needs a new "
                "session id.",
            )
        if self._last_seq is None or chunk.session_id != self._current or chunk.chunk_seq > self._last_seq:
            return None
        return Refusal(
            AckResult.OUT_OF_ORDER,
            f"Chunk {chunk.chunk_seq} came after chunk {self._last_seq} of the same session was accepted: sequence "
            "numbers must increase.",
        )


def first_refusal(checks: Iterable[Refusal | None]) -> Refusal | None:
    """Return the first refusal of lazily evaluated checks."""
    return next((refusal for refusal in checks if refusal is not None), None)


def check_shape(chunk: ActionChunk, config: ControllerConfig) -> Refusal | None:
    """Refuse an array shape, enum, frame or control period that is not this controller's."""
    sentence = _shape_sentence(chunk, config)
    return Refusal(AckResult.BAD_SHAPE, sentence) if sentence else None


def _shape_sentence(chunk: ActionChunk, config: ControllerConfig) -> str:
    data = chunk.data
    if data.dtype != np.float32 or data.ndim != 3 or data.shape[2] != ACTION_DIM or 0 in data.shape:
        return (
            f"Chunk data must be float32 (num_chunks, horizon, {ACTION_DIM}), got {data.dtype} {data.shape}."
        )
    if data.shape[1] > config.max_horizon or data.shape[0] > config.max_chunks:
        return (
            f"A prediction may have {config.max_chunks} chunks of {config.max_horizon} actions (max_chunks, "
            f"max_horizon), got {data.shape[0]} of {data.shape[1]}."
        )
    if not 1 <= chunk.execute_steps <= data.shape[1]:
        return f"execute_steps must be 1 .. {data.shape[1]} (the horizon), got {chunk.execute_steps}."
    if chunk.action_space != ActionSpace.EE_DELTA or chunk.rotation != Rotation.AXIS_ANGLE:
        return (
            "This controller executes EE_DELTA actions with AXIS_ANGLE rotations, got "
            f"{_name(ActionSpace, chunk.action_space)} with {_name(Rotation, chunk.rotation)}."
        )
    if chunk.gripper_mode != GripperMode.SIGNED_PM1:
        return (
            "This controller expects gripper numbers +1 open / -1 closed (SIGNED_PM1), got "
            f"{_name(GripperMode, chunk.gripper_mode)}."
        )
    trajectory = config.arm_interface is ArmInterface.JOINT_TRAJECTORY
    allowed = (
        (DeltaReference.MEASURED, DeltaReference.COMMANDED) if trajectory else (DeltaReference.MEASURED,)
    )
    if chunk.delta_reference not in allowed:
        words = " or ".join(reference.name for reference in allowed)
        return f"Deltas must be relative to {words}, got {_name(DeltaReference, chunk.delta_reference)}."
    frames = ("base", f"{config.robot_type.value}_link0")
    if chunk.frame_id not in frames:
        return f"Actions must be in the frame {frames[0]!r} (or {frames[1]!r}), got {chunk.frame_id!r}."
    if abs(chunk.step_period_ns - config.control_period_ns) > _PERIOD_TOLERANCE * config.control_period_ns:
        return (
            f"The chunk has one action every {chunk.step_period_ns / NS_PER_S:g} s, the controller every "
            f"{config.control_period:g} s: set control_period to the policy's."
        )
    return ""


def check_finite(chunk: ActionChunk) -> Refusal | None:
    """Refuse the whole prediction for NaN or infinity anywhere in it, lookahead included."""
    bad = int(np.count_nonzero(~np.isfinite(chunk.data)))
    if not bad:
        return None
    return Refusal(
        AckResult.NONFINITE, f"{bad} of {chunk.data.size} numbers of the chunk are NaN or infinite."
    )


def check_episode(chunk: ActionChunk, episode_id: str) -> Refusal | None:
    """Refuse an observation that does not belong to the running episode (both ids are empty outside episodes)."""
    if chunk.episode_id == episode_id:
        return None
    running = f"episode {episode_id!r} is running" if episode_id else "no episode is running"
    of = f"of episode {chunk.episode_id!r}" if chunk.episode_id else "of no episode"
    return Refusal(AckResult.OUT_OF_ORDER, f"The chunk is {of}, but {running}.")


def check_steps(chunk: ActionChunk, step: int, config: ControllerConfig) -> Refusal | None:
    """Refuse a pipelined chunk that has no action left for the current control step."""
    first = first_index(chunk, step, config.execution)
    if first < chunk.execute_steps:
        return None
    last = chunk.base_step + chunk.execute_steps - 1
    return Refusal(
        AckResult.EXPIRED,
        f"The chunk covers the control steps {chunk.base_step} .. {last}, the arm is at {step}.",
    )


def check_ages(chunk: ActionChunk, now_ns: int, config: ControllerConfig) -> Refusal | None:
    """Refuse an observation that is too old at the time of the decision, and a chunk whose date has expired."""
    age = (now_ns - chunk.observation_stamp_ns) / NS_PER_S
    if age > config.max_observation_age:
        return Refusal(
            AckResult.STALE_OBSERVATION,
            f"The observation is {age:.3f} s old, allowed is {config.max_observation_age:g} s (max_observation_age).",
        )
    if config.pacing is Pacing.TIMER and -age > config.max_future_stamp:
        return Refusal(
            AckResult.STALE_OBSERVATION,
            f"The observation is stamped {-age:.3f} s in the future: synchronise the clocks of camera and controller.",
        )
    if chunk.valid_until_ns and now_ns > chunk.valid_until_ns:
        late = (now_ns - chunk.valid_until_ns) / NS_PER_S
        return Refusal(AckResult.EXPIRED, f"The chunk came {late:.3f} s after its valid_until.")
    return None


def check_state(state: RobotState | None, now_ns: int, config: ControllerConfig) -> Refusal | None:
    """Refuse a robot state that is not fresh. A world that waits is asked for its state at every step instead."""
    if config.pacing is Pacing.STATE:
        return None
    sentence = stale_sentence(state, now_ns, config)
    return Refusal(AckResult.STATE_STALE, sentence) if sentence else None


def stale_sentence(state: RobotState | None, now_ns: int, config: ControllerConfig) -> str:
    """Return why the state must not be acted on, or an empty text."""
    if state is None:
        return "No robot state was received yet: are joint_states and current_pose published?"
    age_ns = now_ns - state.stamp_ns
    if age_ns > seconds_to_ns(config.max_state_age):
        return (
            f"The robot state is {age_ns / NS_PER_S:.3f} s old, allowed is {config.max_state_age:g} s "
            "(max_state_age)."
        )
    if -age_ns > max(seconds_to_ns(config.max_future_stamp), config.control_period_ns):
        return f"The robot state is stamped {-age_ns / NS_PER_S:.3f} s after now: a clock was set back."
    return ""


def check_motion(
    chunk: ActionChunk, step: int, pose: Pose | None, config: ControllerConfig
) -> Refusal | None:
    """Refuse gross excess and chunks of which too many actions would be clipped.

    Only actions that will be played count. The workspace is checked for the first one, relative to the measured pose:
    where later ones start is not known yet, and each is limited when it is played.
    """
    first = first_index(chunk, step, config.execution)
    actions = chunk.data[0, first : chunk.execute_steps]
    clipped = 0
    for index, action in enumerate(actions, first):
        excess, words = step_excess(action[:6], config)
        grip = abs(float(action[6]))
        if excess > config.gross_factor or grip > config.gross_factor:
            words = (
                words
                if excess > config.gross_factor
                else f"gripper number {action[6]:.4g}, the range is -1 .. 1"
            )
            return Refusal(AckResult.STEP, f"Action {index} is grossly too large: {words}.")
        clipped += excess > ROUNDING
    if clipped > config.max_clipped_steps:
        return Refusal(
            AckResult.STEP,
            f"{clipped} of {len(actions)} actions exceed the step or speed limit, at most {config.max_clipped_steps} "
            "may (max_clipped_steps).",
        )
    if pose is None or not len(actions):
        return None
    outside = box_excess(pose.position + actions[0, :3].astype(np.float64), pose.position, config)
    if outside > config.gross_workspace:
        return Refusal(
            AckResult.WORKSPACE,
            f"The first target lies {outside:.3f} m outside the workspace box, refused above "
            f"{config.gross_workspace:g} m (gross_workspace).",
        )
    return None


def _name(kind: type, value: object) -> str:
    try:
        return str(kind(value).name)
    except ValueError:
        return f"unknown value {value!r}"
