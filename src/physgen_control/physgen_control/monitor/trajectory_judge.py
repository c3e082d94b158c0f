# SPDX-License-Identifier: Apache-2.0
"""Whether a joint trajectory may run: its own motion, and how it begins where the arm is, against the limits.

It plans nothing and shares no code with what plans. Pure; angles in rad, times in s.
"""

from __future__ import annotations

import numpy as np

from physgen_control.monitor.config import ArmLimits, MotionMonitorConfig
from physgen_control.monitor.segments import Knots, Motion, Segments
from physgen_control.types import NUM_JOINTS, Float64Array

_AT_REST = 1e-5
"""A last knot faster [rad/s] than this is not at rest; the arm's controller draws the line here too."""

_ROUNDING = 1.0 + 1e-6
_POSITION_ROUNDING = 1e-6
SHORTEST_JOIN = 0.02
"""A way to the first knot shorter than this [s] is judged as a step, not as a motion."""


class TrajectoryJudge:
    """Holds the limits; remembers nothing of what it judged."""

    def __init__(self, config: MotionMonitorConfig, limits: ArmLimits) -> None:
        self._config, self._limits = config, limits

    def judge(self, knots: Knots, lead: float, here: Motion | None, measured: Float64Array | None) -> str:
        """Return what is wrong with a trajectory, as the rest of a sentence, or an empty text.

        Args:
            knots: What was sent.
            lead: How long from now it begins [s]; negative: how long ago it began.
            here: What the arm's controller commands now, as far as is known.
            measured: The newest joints [7] that are believed, if any [rad].
        """
        if knots.times[0] < 0.0 or np.any(np.diff(knots.times) <= 0.0):
            return "has times that do not increase"
        if np.max(np.abs(knots.velocities[-1])) > _AT_REST:
            return "does not end at rest"
        lower, upper = self._range(here)
        segments = None if len(knots.times) == 1 else Segments(knots)
        body = (
            (knots.positions, knots.velocities, np.zeros((1, NUM_JOINTS)))
            if segments is None
            else segments.samples()
        )
        config = self._config
        wrong = _excess(
            body, lower, upper, self._limits.speed * config.speed_share, config.acceleration_limit
        )
        if wrong or here is None:
            return wrong
        first = lead + float(knots.times[0])
        if first > 0.0:
            return self._judge_join(_first(knots), first, here, measured)
        # The arm's controller enters a trajectory that began already where it would be by now.
        position = knots.positions[-1] if segments is None else segments.at(-lead)[0]
        step = np.abs(position - here[0])
        joint = int(np.argmax(step))
        return _step(joint, step[joint], 0.0) if step[joint] > config.join_slack else ""

    def _judge_join(self, first: Motion, time: float, here: Motion, measured: Float64Array | None) -> str:
        """Judge the way from the motion that runs to the first knot, which no message describes."""
        config, top = self._config, self._limits.speed * self._config.speed_share
        slack = config.join_slack
        away = np.abs(first[0] - (here[0] + time * here[1]))
        allowed = slack + config.acceleration_limit * time**2 / 2
        joint = int(np.argmax(away))
        if away[joint] > allowed:
            return _step(joint, away[joint], time)
        if measured is not None:
            share = np.abs(first[0] - measured) / (top * time + config.tracking_limit)
            joint = int(np.argmax(share))
            if share[joint] > 1.0:
                return f"begins where joint {joint + 1} cannot be in {time:.3f} s"
        if time < SHORTEST_JOIN:
            return ""
        knots = _between(here, first, time)
        lower, upper = self._range(here)
        # What a start that is off by the slack adds to the peaks of a quintic of this length, generously.
        return _excess(
            Segments(knots).samples(),
            lower - slack,
            upper + slack,
            top + 2.0 * slack / time,
            config.acceleration_limit + 20.0 * slack / time**2,
        )

    def _range(self, here: Motion | None) -> tuple[Float64Array, Float64Array]:
        """Return the joint range; an arm that is outside may stay where it is."""
        lower, upper = self._limits.lower, self._limits.upper
        if here is None:
            return lower, upper
        return np.minimum(lower, here[0]), np.maximum(upper, here[0])


def _first(knots: Knots) -> Motion:
    accelerations = np.zeros(NUM_JOINTS) if knots.accelerations is None else knots.accelerations[0]
    return knots.positions[0], knots.velocities[0], accelerations


def _between(start: Motion, end: Motion, time: float) -> Knots:
    return Knots(
        np.array([0.0, time]), *(np.vstack([first, last]) for first, last in zip(start, end, strict=True))
    )


def _step(joint: int, size: float, time: float) -> str:
    return f"asks for a step of {size:.3g} rad of joint {joint + 1} in {time:.3f} s"


def _excess(
    motion: Motion, lower: Float64Array, upper: Float64Array, speed: Float64Array, acceleration: float
) -> str:
    """Return which limit a sampled motion breaks, as the rest of a sentence, or an empty text."""
    position, velocity, bend = motion
    lowest, highest = np.min(position, axis=0), np.max(position, axis=0)
    outside = (lowest < lower - _POSITION_ROUNDING) | (highest > upper + _POSITION_ROUNDING)
    if outside.any():
        joint = int(np.argmax(outside))
        return (
            f"leads joint {joint + 1} to {lowest[joint]:.3f} .. {highest[joint]:.3f} rad, its range is "
            f"{lower[joint]:.3f} .. {upper[joint]:.3f} rad"
        )
    fastest = np.max(np.abs(velocity), axis=0)
    joint = int(np.argmax(fastest / speed))
    if fastest[joint] > speed[joint] * _ROUNDING:
        return f"turns joint {joint + 1} with {fastest[joint]:.3g} rad/s, allowed is {speed[joint]:.3g} rad/s"
    hardest = np.max(np.abs(bend), axis=0)
    joint = int(np.argmax(hardest))
    if hardest[joint] > acceleration * _ROUNDING:
        return (
            f"accelerates joint {joint + 1} with {hardest[joint]:.3g} rad/s^2, allowed is {acceleration:.3g} "
            "rad/s^2"
        )
    return ""
