# SPDX-License-Identifier: Apache-2.0
"""Scripted experts: canonical actions from object poses and the measured TCP, for demonstrations and evaluation.

An expert decides from the current state alone, so it recovers from whatever a policy or noise did before. Pure NumPy;
all poses in the robot base frame (table top at z = 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM, Float32Array, Float64Array, Pose
from physgen_sim_bridge.libero.experts import make_libero_expert
from physgen_sim_bridge.libero.tasks import libero_tasks

OPEN = 1.0
CLOSED = -1.0
CUBE_SIZE = 0.04
"""Edge of every cube in these tasks [m]."""

MAX_STEP = 0.06
"""Largest commanded translation per control step [m]: fast, yet far below the simulators' 0.1 m."""

MAX_TURN = 0.1
"""Largest commanded rotation per control step [rad]: the simulator's limit."""

TRAVEL_HEIGHT = 0.09
"""TCP height for moving over cubes: 4 cm of cube and 5 cm of air [m]."""


class Expert(Protocol):
    """A scripted policy with privileged state."""

    def reset(self) -> None:
        """Start an episode."""
        ...

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the clean canonical action (the label); gripper_width is the measured opening [m]."""
        ...


def make_expert(task: str) -> Expert:
    """Return the expert of a task."""
    match task:
        case "PushCube-v1" | "FakePush-v0":
            return PushExpert()
        case "PickCube-v1":
            return PickExpert()
        case "StackCube-v1":
            return StackExpert()
        case "FakeReach-v0":
            return ReachExpert()
        case "FrankaPick-v0":
            return CautiousExpert(PickExpert(BRISK))
        case "FrankaPush-v0":
            return CautiousExpert(PushExpert())
    if task in libero_tasks():
        return make_libero_expert(task)
    raise UserError(
        f"There is no scripted expert for the task {task!r}; there are experts for: "
        "PushCube-v1, PickCube-v1, StackCube-v1, FakePush-v0, FakeReach-v0, FrankaPick-v0, FrankaPush-v0 "
        "and most of LIBERO's."
    )


TILT_RADIUS = 0.74
TILT_RATE = 3.0
MAX_TILT = 0.3
"""Grasping beyond TILT_RADIUS [m] the hand tilts outwards by TILT_RATE [rad/m] up to MAX_TILT [rad]."""

STUCK_MOTION = 0.0015
"""A TCP that moves less than this [m] in a step although more was asked for is stuck."""

STUCK_SCALES = (0.5, 0.25, 0.1, 1.0)
"""How a stuck expert varies its command. A simulator's inverse kinematics can fail for one command and keep the arm
where it is; the same state then gives the same command for ever. A smaller one without rotation gets out."""


class _StateExpert:
    """An expert whose decision depends on the current state alone; it only remembers whether it is stuck."""

    def __init__(self) -> None:
        self._last: Float64Array | None = None
        self._stuck = 0

    def reset(self) -> None:
        """Start an episode."""
        self._last, self._stuck = None, 0

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the clean action."""
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


class ReachExpert(_StateExpert):
    """Moves the TCP straight to the object called goal."""

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        return _action(objects["goal"].position - tcp_pose.position, _upright(tcp_pose), OPEN)


CAUTIOUS_STEP, CAUTIOUS_TURN = 0.012, 0.045
"""Just below what the controller lets a real arm do in one control step [m], [rad]."""

CAUTIOUS_GAIN = 0.15
"""Share of the remaining way per control step: a real arm follows its command after about four of them."""


NEAR_BASE = 0.42
"""Nearer to the base than this [m] a downward hand cannot go down: the elbow is at its limit. Forward first."""


class CautiousExpert:
    """Another expert's way at the speed of a real arm."""

    def __init__(self, expert: Expert) -> None:
        self._expert = expert

    def reset(self) -> None:
        """Start an episode."""
        self._expert.reset()

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the clean action."""
        action = self._expert.act(objects, tcp_pose, gripper_width)
        if tcp_pose.position[0] < NEAR_BASE:
            action[2] = max(float(action[2]), 0.0)
        scaled = action[:6].astype(np.float64) * np.float64(CAUTIOUS_GAIN)
        action[:3] = _shorten(scaled[:3], CAUTIOUS_STEP)
        action[3:6] = _shorten(scaled[3:], CAUTIOUS_TURN)
        return action


@dataclass(frozen=True, slots=True, kw_only=True)
class PushGeometry:
    """Distances of a push [m], seen along the push direction."""

    standoff: float = (
        0.065  # TCP behind the cube's centre before contact: half a cube, half a finger, 3 cm of air
    )
    lane: float = 0.012  # sideways error under which the TCP may push
    clear: float = 0.045  # behind the cube by this much, the gripper may come down without touching it
    height: float = 0.022  # TCP height while pushing: finger tips 1 cm above the table
    straight: float = 0.05  # a goal this little to the side is reached by pushing straight ahead
    overshoot: float = 0.03  # push on until the cube is this near to the goal's centre


class PushExpert(_StateExpert):
    """Pushes the cube to the goal with closed fingers from behind; goes around it again when it slipped away."""

    def __init__(self, geometry: PushGeometry | None = None) -> None:
        super().__init__()
        self._geometry = geometry or PushGeometry()

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        geometry = self._geometry
        tcp = tcp_pose.position
        cube = objects["cube"].position
        to_goal = objects["goal"].position[:2] - cube[:2]
        turn = _upright(tcp_pose)
        distance = float(np.hypot(*to_goal))
        if distance < geometry.overshoot:
            return _action(np.zeros(3), turn, CLOSED)
        ahead = _push_direction(to_goal, geometry.straight)
        side = np.array([-ahead[1], ahead[0]])
        from_cube = tcp[:2] - cube[:2]
        along, across = float(from_cube @ ahead), float(from_cube @ side)
        low = tcp[2] < geometry.height + 0.015
        behind = along < -0.5 * CUBE_SIZE
        move = np.zeros(3)
        if low and behind and abs(across) < geometry.lane:
            # In the lane: push, steering back to the cube's middle.
            move[:2] = ahead * min(MAX_STEP, 0.02 + distance) - side * across
            move[2] = geometry.height - tcp[2]
            return _action(move, turn, CLOSED)
        start = cube[:2] - ahead * geometry.standoff
        to_start = start - tcp[:2]
        if along < -geometry.clear and (low or float(np.hypot(*to_start)) < 0.03):
            # Behind the cube, nothing in the way: slide into the lane and come down.
            move[:2] = to_start
            move[2] = geometry.height - tcp[2]
            return _action(move, turn, CLOSED)
        near = float(np.hypot(*from_cube)) < 0.10
        if tcp[2] < TRAVEL_HEIGHT - 0.02 and near:
            # Beside, above or before the cube and too low to cross it: up first.
            return _action(np.array([0.0, 0.0, TRAVEL_HEIGHT - tcp[2]]), turn, CLOSED)
        move[:2] = to_start
        move[2] = TRAVEL_HEIGHT - tcp[2]
        return _action(move, turn, CLOSED)


def _push_direction(to_goal: Float64Array, straight: float) -> Float64Array:
    """Unit vector of the push: straight ahead (+x) while that reaches the goal, else towards the goal's centre."""
    if to_goal[0] > straight and abs(to_goal[1]) < straight:
        return np.array([1.0, 0.0])
    return to_goal / float(np.hypot(*to_goal))


@dataclass(frozen=True, slots=True, kw_only=True)
class GraspPace:
    """How a cube is approached. A policy looks once per chunk: what it must see before it acts has to last that long.

    Turning from afar, the hand would answer what few pixels do not show; a hand that is over the cube and down again
    within one chunk would never have been seen there.
    """

    gain: float = 0.5  # share of the remaining way and turn per control step
    descent: float = 0.015  # largest step of a hand that comes down on a cube [m]
    turn_within: float = 0.03  # it turns to the cube's faces when this near above it, seen from above [m]


BRISK = GraspPace(gain=1.0, descent=MAX_STEP, turn_within=np.inf)
"""All at once, for what paces itself."""


class PickExpert(_StateExpert):
    """Grasps the object called cube from above and carries it to the object called goal."""

    def __init__(self, pace: GraspPace | None = None) -> None:
        super().__init__()
        self._pace = pace or GraspPace()

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        cube, goal = objects["cube"], objects["goal"]
        if _holds(cube, tcp_pose, gripper_width):
            move = self._pace.gain * (goal.position - cube.position)
            return _action(_carry(move), _reaching(tcp_pose), CLOSED)
        return _grasp(cube, None, tcp_pose, gripper_width, self._pace)


class StackExpert(_StateExpert):
    """Puts the object called cubeA on the object called cubeB and lets go."""

    def __init__(self, pace: GraspPace | None = None) -> None:
        super().__init__()
        self._pace = pace or GraspPace()

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        top, bottom = objects["cubeA"], objects["cubeB"]
        gap = bottom.position + np.array([0.0, 0.0, CUBE_SIZE]) - top.position
        sideways = float(np.hypot(gap[0], gap[1]))
        upright = _reaching(tcp_pose)
        if sideways < 0.02 and abs(gap[2]) < 0.004:
            # It stands: open, then leave straight up.
            rise = TRAVEL_HEIGHT if gripper_width > 0.06 else 0.0
            away = float(np.linalg.norm(tcp_pose.position - top.position)) > 0.08
            return _action(np.array([0.0, 0.0, 0.0 if away else 0.3 * rise]), upright, OPEN)
        if not _holds(top, tcp_pose, gripper_width):
            return _grasp(top, bottom, tcp_pose, gripper_width, self._pace)
        move = gap.copy()
        if sideways > 0.01:
            # Above the lower cube's top by 2.5 cm before moving over it; sideways only when high enough.
            move[2] = gap[2] + 0.025
            if move[2] > 0.012:
                move[:2] = 0.0
        else:
            move[2] = np.clip(gap[2], -0.02, 0.02)
        return _action(_carry(self._pace.gain * move), upright, CLOSED)


def _carry(move: Float64Array) -> Float64Array:
    """Limit the motion while holding: the cube must not slip."""
    return _shorten(move, 0.05)


def _holds(cube: Pose, tcp_pose: Pose, gripper_width: float) -> bool:
    """The fingers have closed on the cube: they are about one cube apart and the cube is between them."""
    near = float(np.linalg.norm(cube.position - tcp_pose.position)) < 0.025
    return near and 0.5 * CUBE_SIZE < gripper_width < CUBE_SIZE + 0.006


def _grasp(
    cube: Pose, neighbour: Pose | None, tcp_pose: Pose, gripper_width: float, pace: GraspPace
) -> Float32Array:
    """One step of: open, move over the cube, turn, come down, close."""
    rotation = _matrix(tcp_pose.quaternion)
    yaw_error = _grasp_turn(rotation, cube, neighbour)
    to_cube = cube.position - tcp_pose.position
    sideways = float(np.hypot(to_cube[0], to_cube[1]))
    turn = _reaching(tcp_pose)
    if sideways < pace.turn_within:
        turn[2] += pace.gain * yaw_error
    closing = gripper_width < 0.075
    reached = 0.018 if closing else 0.008  # once the fingers close, noise must not open them again
    if sideways < reached and abs(to_cube[2]) < reached and (closing or abs(yaw_error) < 0.12):
        return _action(to_cube, turn, CLOSED)
    over = sideways < 0.012 and abs(yaw_error) < 0.15
    if over or (sideways < 0.02 and abs(to_cube[2]) < 0.03 and abs(yaw_error) < 0.3):
        return _action(_shorten(to_cube, pace.descent), turn, OPEN)
    hover = cube.position[2] + TRAVEL_HEIGHT - tcp_pose.position[2]
    if hover > 0.04 and sideways > 0.02:
        # Too low to move sideways without hitting a cube: up first.
        return _action(np.array([0.0, 0.0, hover]), turn, OPEN)
    return _action(pace.gain * np.array([to_cube[0], to_cube[1], hover]), turn, OPEN)


def _grasp_turn(rotation: Float64Array, cube: Pose, neighbour: Pose | None) -> float:
    """Angle about +z [rad] from the fingers' closing direction (hand y) to a pair of the cube's faces.

    A cube offers two pairs, 90 degrees apart: the nearer one, unless a finger would come down on the neighbour.
    """
    closing = rotation[:, 1]
    faces = _matrix(cube.quaternion)[:, 0]
    angle = np.arctan2(faces[1], faces[0]) - np.arctan2(closing[1], closing[0])
    nearest = float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    if neighbour is None:
        return nearest
    other = nearest - np.copysign(np.pi / 2, nearest)

    def room(turn: float) -> float:
        heading = float(np.arctan2(closing[1], closing[0])) + turn
        direction = np.array([np.cos(heading), np.sin(heading)])
        offset = neighbour.position[:2] - cube.position[:2]
        along = abs(float(offset @ direction))
        across = abs(float(offset @ np.array([-direction[1], direction[0]])))
        return max(along - 0.085, across - 0.045)

    return nearest if room(nearest) > 0.0 or room(nearest) >= room(other) else float(other)


def _upright(tcp_pose: Pose) -> Float64Array:
    """Rotation vector [rad] that turns the hand's z axis to straight down."""
    hand_z = _matrix(tcp_pose.quaternion)[:, 2]
    return np.cross(hand_z, np.array([0.0, 0.0, -1.0]))


def _reaching(tcp_pose: Pose) -> Float64Array:
    """Rotation vector [rad] to straight down, or tilted outwards where a vertical hand is out of the arm's reach.

    Shoulder to wrist is 0.70 m stretched; a vertical hand's wrist is 0.21 m above and 0.088 m before the TCP, so from
    about 0.78 m on (base to TCP, on the table) the inverse kinematics has no solution without tilt.
    """
    radius = float(np.hypot(tcp_pose.position[0], tcp_pose.position[1]))
    tilt = float(np.clip((radius - TILT_RADIUS) * TILT_RATE, 0.0, MAX_TILT))
    outward = tcp_pose.position[:2] * (np.sin(tilt) / max(radius, 1e-9))
    return np.cross(_matrix(tcp_pose.quaternion)[:, 2], np.array([outward[0], outward[1], -np.cos(tilt)]))


def _matrix(quaternion: Float64Array) -> Float64Array:
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _shorten(vector: Float64Array, longest: float) -> Float64Array:
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector


def _action(move: Float64Array, turn: Float64Array, gripper: float) -> Float32Array:
    action = np.empty(ACTION_DIM, dtype=np.float32)
    action[:3] = _shorten(move, MAX_STEP)
    action[3:6] = _shorten(turn, MAX_TURN)
    action[6] = gripper
    return action
