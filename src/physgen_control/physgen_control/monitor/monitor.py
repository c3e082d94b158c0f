# SPDX-License-Identifier: Apache-2.0
"""A second look at motion: every trajectory as it was sent, what the joints do, and whether the controller lives.

It plans nothing and shares no code with what plans. It is told what happens and answers with what to do about it: a
stop from where the arm is. Pure; times are seconds of a clock that cannot be set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.monitor.config import ArmLimits, MotionMonitorConfig
from physgen_control.monitor.segments import Knots, Motion, Segments
from physgen_control.monitor.trajectory_judge import SHORTEST_JOIN, TrajectoryJudge
from physgen_control.types import NUM_JOINTS, Float64Array

_STATES_IN_A_ROW = 3
"""A single state may be wrong by itself."""

_AFTER_THE_END = 0.3
"""How long [s] after its end a command is still compared with the joints."""

_CALM = 0.5
"""So long [s] at rest with nothing wrong ends a violation."""

_REST_AFTER = 0.2
"""Slow for so long [s] is at rest: a motion to and fro is slow where it turns."""

_LONGEST_GAP = 0.2
"""A watch later than this [s] slept: it may have missed what it would complain about."""

_SHORTEST_STOP, _LONGEST_STOP = 0.15, 5.0

_SAME_MEASUREMENT = 1e-3
"""States measured closer together than this [s] are one: ages are differences of two clocks."""

_OUTSIDE, _JUMP = 0.1, 0.1
"""So far [rad] outside its range no joint is, and so far beyond its top speed none gets; noise is smaller."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What to do about a violation."""

    sentence: str
    """What is wrong."""
    begins: bool
    """First reaction of its episode, so act on it once."""
    stop: Knots | None
    """One knot at rest, to be started on arrival; None: where the arm is is unknown, or nobody commanded it."""


@dataclass(frozen=True, slots=True)
class _State:
    at: float
    measured: float
    positions: Float64Array
    velocities: Float64Array


@dataclass(frozen=True, slots=True)
class _Command:
    begin: float
    segments: Segments

    def at(self, now: float) -> Motion:
        return self.segments.at(now - self.begin)

    @property
    def end(self) -> float:
        return self.begin + self.segments.end


class MotionMonitor:
    """Watches one arm; every method takes `now` [s of a steady clock] and may answer with a Reaction.

    Args:
        config: What is too much.
        limits: Joint range and top speeds of the arm.
    """

    def __init__(self, config: MotionMonitorConfig, limits: ArmLimits) -> None:
        self._config, self._limits = config, limits
        self._judge = TrajectoryJudge(config, limits)
        self._state: _State | None = None
        self._doubted: _State | None = None
        self._agreeing = 0
        self._command: _Command | None = None
        self._status_at: float | None = None
        self._moves_since: float | None = None
        self._moved_at = 0.0
        self._fast = self._away = 0
        self._watched_at: float | None = None
        self._wrong_at = 0.0
        self.wrong = ""

    # --- what happens ------------------------------------------------------------------------------------------

    def on_trajectory(self, knots: Knots | str, lead: float, now: float) -> Reaction | None:
        """Judge a trajectory.

        Args:
            knots: What was sent, or a text that says why it is unreadable.
            lead: How long after `now` it begins [s].
            now: When it arrived [s].
        """
        here = self._here(now)
        measured = None if self._state is None else self._state.positions
        sentence = knots if isinstance(knots, str) else self._judge.judge(knots, lead, here, measured)
        if sentence or isinstance(knots, str):
            return self._refuse(f"A joint trajectory {sentence}.", here, now)
        self._follow(knots, lead, here, now)
        return None

    def on_state(
        self, positions: Float64Array, velocities: Float64Array, age: float, now: float
    ) -> Reaction | None:
        """Judge a measured state; numbers that are not finite are no state.

        Args:
            positions: Joints [7] in rad.
            velocities: Joints [7] in rad/s.
            age: How old it is when it arrives [s].
            now: When it arrived [s].
        """
        if not (np.isfinite(positions).all() and np.isfinite(velocities).all()):
            return None
        state = _State(now, now - age, positions, velocities)
        if not self._believes(state):
            return None
        self._state = state
        self._note_motion(float(np.max(np.abs(velocities))), now)
        return self._judge_speed(velocities, now) or self._judge_tracking(positions, age, now)

    def on_status(self, now: float) -> None:
        """Note that the controller said how it is."""
        self._status_at = now

    def watch(self, now: float) -> Reaction | None:
        """Look for what does not come any more; call it at about 20 Hz."""
        slept = self._watched_at is None or now - self._watched_at > _LONGEST_GAP
        self._watched_at = now
        if slept:
            return None
        if self.wrong and self._calm(now):
            self.wrong = ""
        return self._judge_states(now) or self._judge_controller(now)

    # --- judgements --------------------------------------------------------------------------------------------

    def _judge_speed(self, velocities: Float64Array, now: float) -> Reaction | None:
        share = np.abs(velocities) / self._limits.speed
        joint = int(np.argmax(share))
        self._fast = self._fast + 1 if share[joint] > self._config.measured_speed_share else 0
        if self._fast < _STATES_IN_A_ROW - 1:
            return None
        return self._react(
            f"Joint {joint + 1} turns with {abs(velocities[joint]):.2f} rad/s, {100 * share[joint]:.0f} % of its top "
            "speed.",
            now,
        )

    def _judge_tracking(self, positions: Float64Array, age: float, now: float) -> Reaction | None:
        command = self._command
        if command is None or now > command.end + _AFTER_THE_END:
            self._away = 0
            return None
        away = np.abs(positions - command.at(now - age)[0])
        joint = int(np.argmax(away))
        self._away = self._away + 1 if away[joint] > self._config.tracking_limit else 0
        if self._away < _STATES_IN_A_ROW:
            return None
        return self._react(f"Joint {joint + 1} is {away[joint]:.2f} rad from its command.", now)

    def _judge_states(self, now: float) -> Reaction | None:
        if self._state is None:
            return None
        silent = now - self._state.at
        commanded = self._command is not None and self._state.at < self._command.end
        moved = float(np.max(np.abs(self._state.velocities))) > self._config.moving_speed
        if silent <= self._config.state_timeout or not (commanded or moved):
            return None
        return self._react(f"No joint state for {silent:.2f} s while the arm moves.", now)

    def _judge_controller(self, now: float) -> Reaction | None:
        """Judge the controller's silence; nobody's matters while an arm that was never commanded is moved by a hand."""
        if self._command is None or self._moves_since is None:
            return None
        heard = self._moves_since if self._status_at is None else max(self._status_at, self._moves_since)
        if now - heard <= self._config.status_timeout:
            return None
        return self._react(
            f"The arm moves, and nothing was heard of the controller for {now - heard:.2f} s.", now
        )

    def _believes(self, state: _State) -> bool:
        """Return whether a state counts: one that the arm cannot have reached needs others that agree with it.

        A stop begins at the measured joints, so that a state which cannot be true would move the arm.
        """
        lower, upper = self._limits.lower - _OUTSIDE, self._limits.upper + _OUTSIDE
        if ((state.positions < lower) | (state.positions > upper)).any():
            return False
        if self._state is None or self._reaches(self._state, state):
            self._doubted, self._agreeing = None, 0
            return True
        before = self._doubted
        if before is None or not self._reaches(before, state):
            self._doubted, self._agreeing = state, 1
        elif state.measured > before.measured + _SAME_MEASUREMENT:  # the same one again confirms nothing
            self._doubted, self._agreeing = state, self._agreeing + 1
        return self._agreeing >= _STATES_IN_A_ROW

    def _reaches(self, before: _State, after: _State) -> bool:
        seconds = min(after.at - before.at, self._config.state_timeout)
        return bool(
            (np.abs(after.positions - before.positions) <= self._limits.speed * seconds + _JUMP).all()
        )

    # --- state -------------------------------------------------------------------------------------------------

    def _here(self, now: float) -> Motion | None:
        """Return what the arm's controller commands now: the running trajectory, else what it holds."""
        command, state = self._command, self._state
        if command is not None and now < command.end:
            return command.at(now)
        if state is None or now - state.at > self._config.state_timeout:
            return None if command is None else command.at(now)
        if command is not None:
            held = command.at(now)
            if np.max(np.abs(held[0] - state.positions)) < self._config.join_slack:
                return held
        moves = float(np.max(np.abs(state.velocities))) > self._config.moving_speed
        velocities = state.velocities if moves else np.zeros(NUM_JOINTS)
        return state.positions, velocities, np.zeros(NUM_JOINTS)

    def _follow(self, knots: Knots, lead: float, here: Motion | None, now: float) -> None:
        """Remember what the arm's controller makes of a trajectory: it begins with the motion that runs."""
        times = knots.times + lead
        ahead = times > 0.0
        positions, velocities, accelerations = knots.positions, knots.velocities, knots.accelerations
        if accelerations is None:
            accelerations = np.zeros_like(positions)
        if here is None:
            here = (positions[0], velocities[0], accelerations[0])
        if not ahead.any():
            times, ahead = np.array([SHORTEST_JOIN]), np.array([True])
            positions, velocities, accelerations = positions[-1:], velocities[-1:], accelerations[-1:]
        joined = (
            np.vstack([first, rest[ahead]])
            for first, rest in zip(here, (positions, velocities, accelerations), strict=True)
        )
        self._command = _Command(now, Segments(Knots(np.concatenate([[0.0], times[ahead]]), *joined)))

    def _note_motion(self, speed: float, now: float) -> None:
        if speed > self._config.moving_speed:
            self._moved_at = now
            if self._moves_since is None:
                self._moves_since = now
        elif now - self._moved_at > _REST_AFTER:
            self._moves_since = None

    def _calm(self, now: float) -> bool:
        fresh = self._state is not None and now - self._state.at <= self._config.state_timeout
        return fresh and self._moves_since is None and now - self._wrong_at > _CALM

    # --- reactions ---------------------------------------------------------------------------------------------

    def _react(self, sentence: str, now: float) -> Reaction | None:
        """Answer the first violation of an episode."""
        if not self._enter(sentence, now):
            return None
        return self._stop_from(None if self._command is None else self._command.at(now), sentence, now, True)

    def _refuse(self, sentence: str, here: Motion | None, now: float) -> Reaction:
        """Answer every trajectory that may not run: each one that is left alone would move the arm."""
        return self._stop_from(here, sentence, now, self._enter(sentence, now))

    def _enter(self, sentence: str, now: float) -> bool:
        """Note a violation; True when it is the first of its episode."""
        begins = not self.wrong
        self.wrong, self._wrong_at = sentence, now
        return begins

    def _stop_from(self, here: Motion | None, sentence: str, now: float, begins: bool) -> Reaction:
        """Answer with a way to rest from the measured joints, or from the command while nothing is measured.

        Args:
            here: What the arm's controller commands when the stop arrives; None: it was never told anything.
            sentence: What is wrong.
            now: Steady time [s].
            begins: The violation is the first of its episode.
        """
        if here is None:
            return Reaction(sentence, begins, None)
        position, velocity, _ = here
        if self._state is not None and now - self._state.at <= self._config.state_timeout:
            position, velocity = self._state.positions, self._state.velocities
        highest = self._config.stop_acceleration
        # Speed falls by the smoothest cubic, which peaks at 1.5 of its mean; a distance at rest peaks at 5.774.
        by_speed = 1.5 * float(np.max(np.abs(velocity))) / highest
        # The arm's controller may hold its last command, whatever is measured: the way is long enough from there too.
        held = here[0] if self._command is None else self._command.at(now)[0]
        farthest = max(float(np.max(np.abs(position - one))) for one in (here[0], held))
        by_distance = float(np.sqrt(5.774 * farthest / highest))
        time = float(np.clip(max(by_speed, by_distance), _SHORTEST_STOP, _LONGEST_STOP))
        lower, upper = np.minimum(self._limits.lower, position), np.maximum(self._limits.upper, position)
        end = np.clip(position + velocity * time / 2.0, lower, upper)
        rest = np.zeros((1, NUM_JOINTS))
        stop = Knots(np.array([time]), end[None], rest, rest)
        self._follow(stop, 0.0, here, now)
        return Reaction(sentence, begins, stop)
