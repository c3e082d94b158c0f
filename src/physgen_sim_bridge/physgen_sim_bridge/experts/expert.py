# SPDX-License-Identifier: Apache-2.0
"""What every expert that decides from the current state alone has: a way out when it is stuck."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from physgen_control.types import Float32Array, Float64Array, Pose

STUCK_MOTION = 0.0015
"""A TCP that moves less than this [m] in a step although more was asked for is stuck."""

STUCK_SCALES = (0.5, 0.25, 0.1, 1.0)
"""How a stuck expert varies its command. A simulator's inverse kinematics can fail for one command and keep the arm
where it is; the same state then gives the same command for ever. A smaller one without rotation gets out."""


class StateExpert:
    """An expert whose decision depends on the current state alone; it only remembers whether it is stuck."""

    def __init__(self) -> None:
        self._last: Float64Array | None = None
        self._stuck = 0

    def reset(self) -> None:
        """Start an episode."""
        self._last, self._stuck = None, 0

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the canonical action, as Expert.act; a smaller one while the arm is stuck."""
        action = self._decide(objects, tcp_pose, gripper_width)
        tcp = tcp_pose.position
        asked = float(np.linalg.norm(action[:3])) > 0.008
        still = self._last is not None and float(np.linalg.norm(tcp - self._last)) < STUCK_MOTION
        self._stuck = self._stuck + 1 if asked and still else 0
        self._last = tcp.copy()
        if self._stuck >= 2:
            action[:3] *= STUCK_SCALES[(self._stuck - 2) % len(STUCK_SCALES)]
            action[3:6] = 0.0
        return action

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        raise NotImplementedError
