# SPDX-License-Identifier: Apache-2.0
"""Scripted motion for LIBERO's arm: what a script sees, what it may ask for, and the canonical action that follows.

A script is a generator: it yields a target for the hand and is sent the next state, so that a task reads from top to
bottom. All poses in the robot base frame. Pure NumPy.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np

from physgen_control.geometry import matrix_from_unit_quaternion, rotation_vector_from_matrix
from physgen_control.types import ACTION_DIM, Float32Array, Float64Array, Pose

OPEN = 1.0
CLOSED = -1.0

MAX_STEP = 0.05
"""Largest commanded translation per axis and control step [m]: OSC_POSE's limit."""

MAX_TURN = 0.3
"""Largest commanded rotation per control step [rad]."""

GAIN = 2.0
"""Commanded motion over remaining way. OSC_POSE covers about a quarter of a command within its step, so that asking for
the remaining way alone would creep."""

TURN_GAIN = 2.0
"""The same for rotations."""


@dataclass(frozen=True, slots=True)
class State:
    """What a script sees, in the robot base frame."""

    objects: Mapping[str, Pose]
    hand: Float64Array
    """Position of the grip site, [3] in m."""
    rotation: Float64Array
    """Of the hand, matrix [3, 3]."""
    width: float
    """Opening [m]."""

    @classmethod
    def of(cls, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> State:
        """Return the state of an observation: poses in the base frame, opening [m]."""
        return cls(
            objects, tcp_pose.position, matrix_from_unit_quaternion(tcp_pose.quaternion), gripper_width
        )

    def position(self, name: str) -> Float64Array:
        """Return the position of an object, [3] in m."""
        return self.objects[name].position


@dataclass(frozen=True, slots=True)
class Target:
    """Where the hand should be, in the robot base frame."""

    position: Float64Array
    """Of the grip site, [3] in m."""
    rotation: Float64Array
    """Of the hand, matrix [3, 3]."""
    gripper: float
    """+1 open, -1 closed."""
    speed: float = 1.0
    """How fast, 0 to 1."""


Script = Generator[Target, State, State]
"""Yields targets, is sent states, returns the last state; scripts compose with `yield from`."""


def action_towards(target: Target, state: State) -> Float32Array:
    """Return the canonical action that moves the hand towards a target."""
    action = np.empty(ACTION_DIM, dtype=np.float32)
    move = GAIN * (target.position - state.hand)
    action[:3] = move * min(1.0, target.speed * MAX_STEP / max(float(np.abs(move).max()), 1e-9))
    turn = TURN_GAIN * rotation_vector_from_matrix(target.rotation @ state.rotation.T)
    action[3:6] = turn * min(1.0, MAX_TURN / max(float(np.linalg.norm(turn)), 1e-9))
    action[6] = target.gripper
    return action


def downward(heading: float, tilt: float = 0.0) -> Float64Array:
    """Return the rotation [3, 3] of a hand that points down, its fingers moving along (cos heading, sin heading).

    The start pose has heading pi / 2 or -pi / 2 (fingers along y). tilt [rad] turns the hand about the axis that the
    fingers and the vertical leave over, so that it leans along its fingers' direction.
    """
    closing = np.array([np.cos(heading), np.sin(heading), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    along = np.cross(closing, down)
    if tilt:
        closing, down = (
            np.cos(tilt) * closing - np.sin(tilt) * down,
            np.cos(tilt) * down + np.sin(tilt) * closing,
        )
    return np.column_stack([along, closing, down])


def leaning(towards: Float64Array, tilt: float, state: State) -> Float64Array:
    """Return the rotation [3, 3] of a hand that points down but leans by `tilt` [rad] towards a horizontal unit vector.

    Its fingers move along the horizontal across that vector, so that the palm's narrow side leans.
    """
    across = nearest_heading(float(np.arctan2(towards[0], -towards[1])), state)
    closing = np.array([np.cos(across), np.sin(across), 0.0])
    pointing = np.sin(tilt) * towards - np.array([0.0, 0.0, np.cos(tilt)])
    return np.column_stack([np.cross(closing, pointing), closing, pointing])


def nearest_heading(heading: float, state: State) -> float:
    """Return the heading that the hand reaches with the smaller turn: fingers are symmetric, modulo pi [rad]."""
    current = float(np.arctan2(state.rotation[1, 1], state.rotation[0, 1]))
    return current + float((heading - current + np.pi / 2) % np.pi - np.pi / 2)


def reach(
    target: Target, state: State, *, within: float = 0.01, turned: float = 0.1, limit: int = 60
) -> Script:
    """Go to a target until the hand is `within` [m] and `turned` [rad] of it, at most `limit` steps."""
    for _ in range(limit):
        left = float(np.linalg.norm(target.position - state.hand))
        if left < within and angle_between(target.rotation, state.rotation) < turned:
            break
        state = yield target
    return state


def hold(steps: int, gripper: float, state: State) -> Script:
    """Stay where the hand is for some steps."""
    target = Target(state.hand.copy(), state.rotation.copy(), gripper)
    for _ in range(steps):
        state = yield target
    return state


def rise(height: float, gripper: float, state: State, *, limit: int = 60) -> Script:
    """Go straight up (or down) to a height [m]."""
    position = np.array([state.hand[0], state.hand[1], height])
    return (
        yield from reach(Target(position, state.rotation.copy(), gripper), state, within=0.02, limit=limit)
    )


def angle_between(one: Float64Array, other: Float64Array) -> float:
    """Return the angle of the rotation between two rotation matrices [rad]."""
    return float(np.linalg.norm(rotation_vector_from_matrix(one @ other.T)))
