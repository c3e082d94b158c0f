# SPDX-License-Identifier: Apache-2.0
"""The reward: the object follows the video. It knows goals and the true object, and nothing of any task's success.

Paid once for each goal on the way, by how near the object passes it, and at the end for where it rests: standing still
earns nothing. Pressing bodies into each other, dropping the object and large residuals cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float64Array, Pose
from physgen_physworld.plan.goals import Goals
from physgen_physworld.values import square_turn, yaw_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Weights of the parts, and the distances at which they fall to a third."""

    way: float = 10.0  # for all goals passed exactly
    end: float = 5.0  # for resting exactly at the last one
    near: float = 0.02  # [m]
    near_end: float = 0.01  # [m]
    turned: float = 0.26  # [rad]
    turn_share: float = 0.25  # of a goal's pay that the turn decides
    reach: float = 0.03  # an object that was never this near [m] has not passed a goal
    there: float = 0.004  # an object this near [m] is at it
    step_cost: float = 0.01
    residual_cost: float = 0.02  # of a residual that is as large as it may be
    penetration_cost: float = 1.0
    deepest: float = 0.005  # [m], from which on it costs


class FollowingReward:
    """Pays one episode."""

    def __init__(self, goals: Goals, config: RewardConfig | None = None) -> None:
        self._goals = goals
        self._config = config or RewardConfig()
        self.passed = 0
        self._nearest = np.inf

    def step(self, thing: Pose, residual: Float64Array, penetration: float) -> float:
        """Return the pay of one control step.

        Args:
            thing: the true object.
            residual: float64 [6], each as a share of its largest (-1 to 1).
            penetration: of the deepest contact [m].
        """
        config, goals = self._config, self._goals
        pay = -config.step_cost - config.residual_cost * float(residual @ residual) / 6
        if penetration > config.deepest:
            pay -= config.penetration_cost
        last = len(goals.positions) - 1
        away = np.linalg.norm(goals.positions[self.passed + 1 :] - thing.position, axis=1)
        for index, distance in enumerate(away):
            self._nearest = min(self._nearest, float(distance))
            # Passed: it has been there, or is nearer to the next one already.
            beyond = index + 1 < len(away) and away[index + 1] < distance
            if self._nearest > config.reach or not (beyond or distance < config.there):
                break
            turn = abs(square_turn(float(goals.yaws[self.passed + 1]) - yaw_of(thing.quaternion)))
            nearness = (1 - config.turn_share) * np.exp(-self._nearest / config.near)
            pay += config.way / last * float(nearness + config.turn_share * np.exp(-turn / config.turned))
            self.passed += 1
            self._nearest = np.inf
        return pay

    def end(self, thing: Pose) -> float:
        """Return the pay for where the object rests at the end of the episode."""
        distance = float(np.linalg.norm(self._goals.positions[-1] - thing.position))
        return self._config.end * float(np.exp(-distance / self._config.near_end))
