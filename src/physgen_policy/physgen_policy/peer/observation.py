# SPDX-License-Identifier: Apache-2.0
"""What a policy of lerobot is shown: the images and the state vector of our LeRobot datasets, from live values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physgen_control.types import RobotState, UInt8Image
from physgen_policy.data.lerobot.features import STATE_NAMES


@dataclass(frozen=True, slots=True)
class LerobotObservation:
    """What a policy of lerobot is shown at one control step."""

    images: Mapping[str, UInt8Image]
    """uint8 [y, x, 3] RGB by camera, empty where nothing was drawn."""
    state: NDArray[np.float32]
    """float32 [15], see STATE_NAMES."""


@dataclass(slots=True)
class StateVector:
    """Turns the states of one episode into vectors; remembers the sign of the last quaternion.

    Both signs are the same rotation, but not to a network: as in the datasets, neighbours do not differ by it.
    """

    _last: NDArray[np.float64] | None = field(default=None, init=False)

    def __call__(self, robot: RobotState) -> NDArray[np.float32]:
        """Return float32 [15]: joints [rad], opening [m], TCP position [m] and quaternion (x, y, z, w)."""
        quaternion = robot.tcp_pose.quaternion / np.linalg.norm(robot.tcp_pose.quaternion)
        if self._last is not None and quaternion @ self._last < 0:
            quaternion = -quaternion
        self._last = quaternion
        vector = np.concatenate(
            [robot.positions, [robot.gripper_width], robot.tcp_pose.position, quaternion]
        ).astype(np.float32)
        assert vector.shape == (len(STATE_NAMES),)
        return vector
