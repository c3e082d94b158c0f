# SPDX-License-Identifier: Apache-2.0
"""The base policy with its trained residual, as something that acts; below a confidence it is the base alone."""

from __future__ import annotations

from physgen_control.types import Float32Array, Pose
from physgen_physworld.execution.estimator import Estimate
from physgen_physworld.plan.base import GoalFollower
from physgen_physworld.plan.goals import Goals
from physgen_physworld.residual.network import ResidualNetwork, with_residual
from physgen_physworld.residual.observation import observe

LEAST_CONFIDENCE = 0.3
"""Who does not know where the object is shall not correct."""


class ResidualPolicy:
    """Base and residual; see execution.episode.Policy."""

    def __init__(self, goals: Goals, network: ResidualNetwork) -> None:
        self.follower = GoalFollower(goals, "base")
        self._network = network

    def act(self, estimate: Estimate, tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the base's action with the residual added."""
        base = self.follower.act({"object": estimate.pose}, tcp_pose, gripper_width)
        if estimate.confidence < LEAST_CONFIDENCE:
            return base
        seen = observe(self.follower, estimate.pose, estimate.confidence, tcp_pose, gripper_width, base)
        residual = self._network.residual(seen)
        return with_residual(base, residual[:6].astype(float))
