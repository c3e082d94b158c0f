# SPDX-License-Identifier: Apache-2.0
"""The World protocol: one simulated arm with two cameras that steps by canonical actions; knows no ROS and no time.

A world is stamp-free: the pacing layer decides when an observation was taken (clock.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from physgen_control.types import Float32Array, Float64Array, Pose, UInt8Image

PANDA_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
PANDA_FINGERS = ("panda_finger_joint1", "panda_finger_joint2")


BY_SEED, DRAWN = -1, -2
"""Values of init_state that are no index. BY_SEED: the stored initial state number seed modulo their number, where a
world has stored ones. DRAWN: placed at random by the scene's own rules, as the seed says; evaluations start from stored
states, and demonstrations must not. Worlds without stored states draw in both cases."""


class WorldCrashed(RuntimeError):  # noqa: N818  (it names what happened, as CRASHED does)
    """The simulator died or raised: the episode is lost and must be counted as crashed, never as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """An ideal pinhole camera with square pixels."""

    name: str
    fov_y: float
    """Vertical field of view [rad]."""
    image_size: tuple[int, int]
    """(height, width) [pixels]."""

    def matrix(self) -> tuple[float, ...]:
        """Return the row-major 3x3 intrinsic matrix in pixels."""
        height, width = self.image_size
        focal = height / (2.0 * math.tan(self.fov_y / 2.0))
        return (focal, 0.0, width / 2.0, 0.0, focal, height / 2.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSpec:
    """What a world is, readable before its first reset.

    success_rule and instruction are sentences for people and results files.
    """

    name: str
    task: str
    control_mode: str
    success_rule: str
    default_max_steps: int
    control_period_ns: int
    instruction: str
    robot: str
    fixed_camera: CameraSpec
    wrist_camera: CameraSpec
    joint_names: tuple[str, ...] = PANDA_JOINTS
    finger_names: tuple[str, ...] = PANDA_FINGERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the robot and its cameras see after a control step; all arrays are owned by the receiver.

    rgb_*: uint8 [height, width, 3]; positions, velocities: 7 arm joints, float64 [rad], [rad/s]; gripper_width: opening
    between the fingers [m]; tcp_pose and objects: in the robot base frame. objects is privileged information.
    """

    rgb_fixed: UInt8Image
    rgb_wrist: UInt8Image
    positions: Float64Array
    velocities: Float64Array
    gripper_width: float
    tcp_pose: Pose
    objects: Mapping[str, Pose]
    success: bool


class World(Protocol):
    """One simulated scene; not thread safe."""

    @property
    def spec(self) -> WorldSpec:
        """Describe the world."""
        ...

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode; the same seed and init_state give the same episode, whatever ran before.

        Args:
            seed: 0 to 2^32 - 1.
            init_state: index of a stored initial state, or BY_SEED, or DRAWN.
        """
        ...

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Apply one canonical action (7 numbers) for exactly one control period.

        Args:
            action: float32 [7].
            render: False when nobody will look at the images of this observation, which then are black. Drawing is most
                of a step; leaving it out changes nothing else, now or later.
        """
        ...

    def close(self) -> None:
        """Free the simulator; calling it twice is harmless."""
        ...
