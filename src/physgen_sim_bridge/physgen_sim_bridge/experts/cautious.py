# SPDX-License-Identifier: Apache-2.0
"""An expert for a real arm: what another expert does, at the speed of a real arm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from physgen_control.types import Float32Array, Pose
from physgen_sim_bridge.experts.motion import shorten
from physgen_sim_bridge.world import Expert

CAUTIOUS_STEP, CAUTIOUS_TURN = 0.012, 0.045
"""Just below what the controller lets a real arm do in one control step [m], [rad]."""

CAUTIOUS_GAIN = 0.15
"""Share of the remaining way per control step: a real arm follows its command after about four of them."""

NEAR_BASE = 0.42
"""Nearer to the base than this [m] a downward hand cannot go down: the elbow is at its limit. Forward first."""


class CautiousExpert:
    """Does what another expert does, at the speed of a real arm."""

    def __init__(self, expert: Expert) -> None:
        self._expert = expert

    def reset(self) -> None:
        """Start an episode."""
        self._expert.reset()

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the canonical action, as Expert.act."""
        action = self._expert.act(objects, tcp_pose, gripper_width)
        if tcp_pose.position[0] < NEAR_BASE:
            action[2] = max(float(action[2]), 0.0)
        scaled = action[:6].astype(np.float64) * np.float64(CAUTIOUS_GAIN)
        action[:3] = shorten(scaled[:3], CAUTIOUS_STEP)
        action[3:6] = shorten(scaled[3:], CAUTIOUS_TURN)
        return action
