# SPDX-License-Identifier: Apache-2.0
"""A cube on a table and the fingers that grasp, carry and push it. Geometry only, base frame; no ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import conjugate, matrix_from_quaternion, quaternion_product
from physgen_control.types import Float64Array, Pose

CUBE_HALF = 0.02
"""Half the cube's edge [m]."""

MAX_WIDTH = 0.08
"""Largest opening of the Franka hand [m]."""

FINGER_HALF = np.array([0.011, 0.011])
"""Half the closed fingers' extent along x and y of the hand [m]."""

_CENTRED = 0.015
"""The cube's centre is this near [m] to the tool centre point along the finger plane and axis: the fingers hold it."""

_FALL_SPEED = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """What is asked for."""

    instruction: str
    success_rule: str
    """A sentence for people."""
    max_steps: int
    """Control steps."""
    goal_distance: float
    """Success radius [m]."""
    goal_in_air: bool


TASKS: dict[str, TableTask] = {
    "FrankaPick-v0": TableTask(
        instruction="pick up the cube and move it to the goal",
        success_rule="the cube's centre is within 0.025 m of the goal",
        max_steps=600,
        goal_distance=0.025,
        goal_in_air=True,
    ),
    "FrankaPush-v0": TableTask(
        instruction="push the cube to the goal",
        success_rule="the cube's centre is within 0.05 m of the goal's centre",
        max_steps=600,
        goal_distance=0.05,
        goal_in_air=False,
    ),
}


class Fingers:
    """The opening between the fingers, moving with constant speed to a target."""

    def __init__(self) -> None:
        self.width = MAX_WIDTH
        self._target = MAX_WIDTH
        self._speed = 0.1
        self.force = 0.0

    def command(self, width: float, speed: float, force: float = 0.0) -> None:
        """Start a motion to a width [m] with a speed [m/s]; force [N] > 0: a grasp."""
        self._target = float(np.clip(width, 0.0, MAX_WIDTH))
        self._speed, self.force = speed, force

    @property
    def closing(self) -> bool:
        """Whether the target is narrower than the fingers are."""
        return self._target < self.width - 1e-6

    def step(self, seconds: float, stop_at: float) -> None:
        """Move for a time [s]; an object of width `stop_at` [m] between the fingers stops them."""
        change = float(np.clip(self._target - self.width, -self._speed * seconds, self._speed * seconds))
        self.width = max(self.width + change, min(stop_at, self.width) if change < 0 else 0.0)

    def done(self, object_width: float) -> bool:
        """Return whether the target is reached or an object is held."""
        return abs(self.width - self._target) < 1e-4 or (self.closing and self.width <= object_width + 1e-6)


class Table:
    """Cube and goal of one task; `step` moves the cube with the hand."""

    def __init__(self, task: str) -> None:
        if task not in TASKS:
            raise UserError(f"The fake Franka has no task {task!r}; choose one of: {', '.join(TASKS)}.")
        self.task = TASKS[task]
        self.cube = np.array([0.5, 0.0, CUBE_HALF])
        self.cube_turn = np.array([0.0, 0.0, 0.0, 1.0])
        self.goal = np.array([0.5, 0.1, CUBE_HALF])
        self._grip: tuple[Float64Array, Float64Array] | None = None

    def reset(self, seed: int) -> None:
        """Place cube and goal; the same seed gives the same places.

        Raises:
            UserError: The seed is negative.
        """
        if seed < 0:
            raise UserError(f"A seed must not be negative, but it is {seed}.")
        rng = np.random.default_rng(seed)
        # Nearer to the base the elbow of a downward hand is at its limit, farther away the arm is stretched.
        spot = np.array([0.52 if self.task.goal_in_air else 0.56, 0.0]) + rng.uniform(-0.05, 0.05, 2)
        self.cube = np.array([*spot, CUBE_HALF])
        angle = rng.uniform(-0.3, 0.3) if self.task.goal_in_air else 0.0
        self.cube_turn = np.array([0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2)])
        self._grip = None
        if self.task.goal_in_air:
            place = np.array([0.50, 0.0, 0.0]) + rng.uniform([-0.06, -0.12, 0.12], [0.06, 0.12, 0.22])
        else:
            place = np.array([spot[0] + 0.11, spot[1], 0.0])
        self.goal = place

    @property
    def held(self) -> bool:
        """Whether the cube is between the fingers."""
        return self._grip is not None

    @property
    def success(self) -> bool:
        """Whether the cube is where it was asked for."""
        offset = self.cube - self.goal
        axes = 3 if self.task.goal_in_air else 2
        return float(np.linalg.norm(offset[:axes])) < self.task.goal_distance

    def object_width(self, tcp: Pose) -> float:
        """Return the width [m] at which the fingers meet the cube if they close here; 0: nothing between them."""
        return 2 * CUBE_HALF if self.held or self._between(tcp) else 0.0

    def step(self, tcp: Pose, fingers: Fingers, seconds: float) -> None:
        """Let the fingers and the hand act on the cube for a time [s]."""
        stop_at = self.object_width(tcp)
        fingers.step(seconds, stop_at)
        rotation = matrix_from_quaternion(tcp.quaternion)
        if self._grip is not None:
            if fingers.width > 2 * CUBE_HALF + 0.002:
                self._grip = None
            else:
                offset, turn = self._grip
                self.cube = tcp.position + rotation @ offset
                self.cube_turn = quaternion_product(tcp.quaternion, turn)
                return
        if stop_at > 0.0 and fingers.closing and fingers.width <= stop_at + 1e-6:
            inverse = conjugate(tcp.quaternion)
            self._grip = (
                rotation.T @ (self.cube - tcp.position),
                quaternion_product(inverse, self.cube_turn),
            )
            return
        self.cube[2] = max(CUBE_HALF, self.cube[2] - _FALL_SPEED * seconds)
        if fingers.width < 2 * CUBE_HALF:
            self._push(tcp)

    def _between(self, tcp: Pose) -> bool:
        local = matrix_from_quaternion(tcp.quaternion).T @ (self.cube - tcp.position)
        # x: along the finger pads; y: from finger to finger; z: into the hand.
        return abs(local[0]) < _CENTRED and abs(local[1]) < _CENTRED and abs(local[2]) < CUBE_HALF

    def _push(self, tcp: Pose) -> None:
        """Move the cube out of the closed fingers along the axis of least overlap (it slides without turning)."""
        if tcp.position[2] > 2 * CUBE_HALF + 0.01:
            return
        reach = CUBE_HALF + FINGER_HALF
        delta = self.cube[:2] - tcp.position[:2]
        overlap = reach - np.abs(delta)
        if np.any(overlap <= 0):
            return
        axis = int(np.argmin(overlap))
        self.cube[axis] = tcp.position[axis] + math.copysign(reach[axis], delta[axis])
