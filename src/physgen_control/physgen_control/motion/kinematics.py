# SPDX-License-Identifier: Apache-2.0
"""Kinematics of FR3 and Panda in NumPy: forward, geometric Jacobian, damped-least-squares inverse, joint limits.

Both arms share one geometry (Craig's DH parameters of Franka's documentation); their limits differ. Joint vectors are
float64[7] in rad, the tool centre point is `hand_tcp` in the base frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physgen_control.controller_config import RobotType
from physgen_control.geometry import (
    matrix_from_quaternion,
    quaternion_from_matrix,
    rotation_vector_from_matrix,
)
from physgen_control.types import NUM_JOINTS, Float64Array, Pose

HOME = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
"""Franka's usual start configuration."""

# a [m], d [m], alpha [rad] of each joint: https://frankarobotics.github.io/docs/robot_specifications.html
DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
FLANGE = 0.107  # [m] along z of link 7
HAND_YAW = -np.pi / 4  # [rad] of the hand on the flange, about z
TCP = 0.1034  # [m] along z of the hand: franka_description, hand_tcp


def _link_terms() -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the parts [7, 4, 4] of each link's transform that are constant, times cosine and times sine."""
    constant, cosine, sine = np.zeros((3, NUM_JOINTS, 4, 4))
    for index, (a, d, alpha) in enumerate(DH):
        ca, sa = np.cos(alpha), np.sin(alpha)
        constant[index] = [[0, 0, 0, a], [0, 0, -sa, -d * sa], [0, 0, ca, d * ca], [0, 0, 0, 1]]
        cosine[index, :3, :2] = [[1, 0], [0, ca], [0, sa]]
        sine[index, :3, :2] = [[0, -1], [ca, 0], [sa, 0]]
    return constant, cosine, sine


def _hand() -> Float64Array:
    c, s = np.cos(HAND_YAW), np.sin(HAND_YAW)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, FLANGE + TCP], [0, 0, 0, 1]], np.float64)


_LINK_CONSTANT, _LINK_COSINE, _LINK_SINE = _link_terms()
_HAND = _hand()


@dataclass(frozen=True, slots=True)
class JointLimits:
    """Limits per joint, each float64 [7]."""

    lower: Float64Array
    """[rad]"""
    upper: Float64Array
    """[rad]"""
    velocity: Float64Array
    """[rad/s]"""
    acceleration: Float64Array
    """[rad/s^2]"""
    jerk: Float64Array
    """[rad/s^3]"""


_MOVEIT_ACCELERATION = (3.75, 1.875, 2.5, 3.125, 3.75, 5.0, 5.0)
"""franka_fr3_moveit_config: a third or less of what the arm could do."""

_LIMITS = {
    # Inside Franka's suggested rectangle the position-dependent speed limits of the FR3 never bind.
    RobotType.FR3: JointLimits(
        lower=np.array([-2.3476, -1.5454, -2.4937, -2.7714, -2.5100, 0.7773, -2.7045]),
        upper=np.array([2.3476, 1.5454, 2.4937, -0.4226, 2.5100, 4.2841, 2.7045]),
        velocity=np.array([2.0, 1.0, 1.5, 1.25, 3.0, 1.5, 3.0]),
        acceleration=np.array(_MOVEIT_ACCELERATION),
        jerk=np.full(NUM_JOINTS, 5000.0),
    ),
    RobotType.PANDA: JointLimits(
        lower=np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]),
        upper=np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]),
        velocity=np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61]),
        acceleration=np.array(_MOVEIT_ACCELERATION),
        jerk=np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0]),
    ),
}


# Where the joints can be at all (franka_description's URDF): wider than the rectangle that motion is planned in.
_RANGES = {
    RobotType.FR3: (
        np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159]),
        np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159]),
    ),
    RobotType.PANDA: (_LIMITS[RobotType.PANDA].lower, _LIMITS[RobotType.PANDA].upper),
}
_FASTEST = {
    RobotType.FR3: np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26]),
    RobotType.PANDA: _LIMITS[RobotType.PANDA].velocity,
}

# A solution leans to a posture by this share of the way and at most this far [rad].
_LEAN, _MAX_LEAN = 0.05, 0.004


def joint_limits(robot: RobotType) -> JointLimits:
    """Return the limits of an arm by its data sheet (FR3 positions: Franka's suggested rectangle)."""
    return _LIMITS[robot]


def joint_range(robot: RobotType) -> tuple[Float64Array, Float64Array]:
    """Return the lowest and highest position of each joint that the arm's mechanics allow, each [7] in rad."""
    return _RANGES[robot]


def joint_top_speed(robot: RobotType) -> Float64Array:
    """Return the highest speed of each joint in the data sheet, [7] in rad/s."""
    return _FASTEST[robot]


class IKError(ValueError):
    """No joint positions for a TCP target; the message is a sentence.

    Args:
        sentence: The message.
        at_limit: Joint limits are the reason.
    """

    def __init__(self, sentence: str, *, at_limit: bool = False) -> None:
        super().__init__(sentence)
        self.at_limit = at_limit


def forward(positions: Float64Array) -> Pose:
    """Return the pose of hand_tcp in the base frame."""
    frame = _frames(positions)[-1]
    return Pose(position=frame[:3, 3].copy(), quaternion=quaternion_from_matrix(frame[:3, :3]))


def jacobian(positions: Float64Array) -> Float64Array:
    """Return the geometric Jacobian [6, 7]: joint rates to TCP velocity [m/s] and turn rate [rad/s], base frame."""
    return _jacobian(_frames(positions))


def smallest_singular_value(positions: Float64Array) -> float:
    """Return how far the arm is from a singular configuration; 0 is singular, about 0.1 is comfortable."""
    return _smallest_singular_value(_frames(positions))


def _smallest_singular_value(frames: list[Float64Array]) -> float:
    return float(np.linalg.svd(_jacobian(frames), compute_uv=False)[-1])


def inverse(
    target: Pose,
    seed: Float64Array,
    limits: JointLimits,
    *,
    margin: float = 0.0,
    posture: Float64Array | None = None,
    position_tolerance: float = 1e-6,
    rotation_tolerance: float = 1e-5,
    min_singular_value: float = 0.02,
    max_iterations: int = 60,
) -> Float64Array:
    """Return joint positions near `seed` that reach the target, by damped least squares.

    Args:
        target: Wanted pose of hand_tcp in the base frame.
        seed: Start, normally the last command: the solution stays on its branch.
        limits: Joint positions stay within them, by `margin` [rad].
        margin: Distance kept from joint limits; a seed outside may come back in but not go farther out.
        posture: Joints [7] to lean to where the target leaves freedom (seven joints, six numbers); None: the seed.
        position_tolerance: Largest position error of the result [m].
        rotation_tolerance: Largest rotation error of the result [rad].
        min_singular_value: Refuse results nearer to a singularity than this (see smallest_singular_value).
        max_iterations: Give up after this many.

    Raises:
        IKError: No solution: out of reach, at a joint limit, or too close to a singularity.
    """
    lower = np.minimum(limits.lower + margin, seed)
    upper = np.maximum(limits.upper - margin, seed)
    lean = (
        np.zeros(NUM_JOINTS) if posture is None else np.clip(_LEAN * (posture - seed), -_MAX_LEAN, _MAX_LEAN)
    )
    rotation = matrix_from_quaternion(target.quaternion)
    positions = np.array(seed, np.float64)
    distance, angle = np.inf, np.inf
    for _ in range(max_iterations):
        frames = _frames(positions)
        error = _pose_error(frames[-1], target.position, rotation)
        distance, angle = math.sqrt(error[:3] @ error[:3]), math.sqrt(error[3:] @ error[3:])
        if distance <= position_tolerance and angle <= rotation_tolerance:
            return _checked(positions, frames, seed, min_singular_value)
        matrix = _jacobian(frames)
        # Damping grows with the error: far away it keeps steps short, near the goal it vanishes (fast convergence).
        damping = 1e-8 + 1e-3 * float(error @ error)
        step = _step(matrix, damping, error, lean)
        # A joint that would leave its range stays at its limit; the others, one more than needed, take over.
        stuck = (positions + step < lower) | (positions + step > upper)
        if np.any(stuck):
            edge = np.clip(positions + step, lower, upper) - positions
            rest, aside = np.where(stuck, 0.0, matrix), np.where(stuck, 0.0, lean)
            step = np.where(stuck, edge, _step(rest, damping, error - matrix[:, stuck] @ edge[stuck], aside))
        lean = np.zeros(NUM_JOINTS)  # once: leaning again and again would keep the error from vanishing
        longest = float(np.max(np.abs(step)))
        if longest > 0.3:  # beyond this the linearisation is worth nothing
            step *= 0.3 / longest
        positions = np.clip(positions + step, lower, upper)
    at_limit = (positions <= lower) | (positions >= upper)
    where = f"{np.round(target.position, 3).tolist()} m"
    if np.any(at_limit):
        names = ", ".join(f"joint {index + 1}" for index in np.flatnonzero(at_limit))
        raise IKError(f"The target at {where} needs {names} beyond its position limit.", at_limit=True)
    raise IKError(
        f"No joint positions reach the target at {where}: {distance:.2g} m and {angle:.2g} rad remain after "
        f"{max_iterations} iterations."
    )


def _step(matrix: Float64Array, damping: float, error: Float64Array, lean: Float64Array) -> Float64Array:
    """Return the damped-least-squares joint step [7] for a task-space error [6], near the wanted step `lean` [7]."""
    square = matrix @ matrix.T + damping * np.eye(6)
    step: Float64Array = lean + matrix.T @ np.linalg.solve(square, error - matrix @ lean)
    return step


def _checked(
    positions: Float64Array, frames: list[Float64Array], seed: Float64Array, min_singular_value: float
) -> Float64Array:
    value = _smallest_singular_value(frames)
    # Out of a singularity is always allowed, otherwise an arm that was left in one could never leave.
    if value < min_singular_value and value <= smallest_singular_value(seed):
        raise IKError(
            f"The target is too close to a singular configuration (smallest singular value {value:.3g}, allowed is "
            f"{min_singular_value:g})."
        )
    return positions


def _pose_error(frame: Float64Array, position: Float64Array, rotation: Float64Array) -> Float64Array:
    """Return translation [m] and rotation vector [rad], as one [6], from a frame [4, 4] to a target, base frame."""
    m = rotation @ frame[:3, :3].T
    vector = 0.5 * np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    sine = math.sqrt(vector @ vector)
    cosine = 0.5 * (m[0, 0] + m[1, 1] + m[2, 2] - 1.0)
    if cosine < -0.9:  # near half a turn the sine says too little
        vector = rotation_vector_from_matrix(m)
    elif sine > 1e-12:
        vector *= math.atan2(sine, cosine) / sine
    return np.concatenate([position - frame[:3, 3], vector])


def _frames(positions: Float64Array) -> list[Float64Array]:
    """Return base-from-link transforms [4, 4] of links 1..7 and of hand_tcp.

    Raises:
        ValueError: There are not seven positions.
    """
    values = np.asarray(positions, np.float64)
    if values.shape != (NUM_JOINTS,):
        raise ValueError(f"Expected {NUM_JOINTS} joint positions, got shape {values.shape}.")
    c, s = np.cos(values), np.sin(values)
    links = _LINK_CONSTANT + c[:, None, None] * _LINK_COSINE + s[:, None, None] * _LINK_SINE
    frames = [links[0]]
    for link in links[1:]:
        frames.append(frames[-1] @ link)
    frames.append(frames[-1] @ _HAND)
    return frames


def _jacobian(frames: list[Float64Array]) -> Float64Array:
    tip = frames[-1][:3, 3]
    stack = np.array(frames[:NUM_JOINTS])
    (x, y, z), (ax, ay, az) = (tip - stack[:, :3, 3]).T, stack[:, :3, 2].T
    return np.array([ay * z - az * y, az * x - ax * z, ax * y - ay * x, ax, ay, az])
