# SPDX-License-Identifier: Apache-2.0
"""A pure NumPy gripper, cube and goal with drawn images: for tests, first tries and machines without a simulator.

Frames, ranges and start poses are those of the ManiSkill tasks, so that experts and policies run unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_rotation_vector, steady_quaternion_from_matrix
from physgen_control.types import Float32Array, Float64Array, Pose
from physgen_sim_bridge.canonical_action import check_action
from physgen_sim_bridge.fake.painter import FakePainter
from physgen_sim_bridge.fake.painter import fixed_camera as fake_camera
from physgen_sim_bridge.fake_franka.painter import fixed_camera as fake_franka_camera
from physgen_sim_bridge.fake_franka.table import TASKS as FRANKA_TASKS
from physgen_sim_bridge.world import (
    BY_SEED,
    DRAWN,
    CameraSpec,
    FixedCamera,
    Observation,
    TaskRules,
    World,
    WorldSpec,
)

CONTROL_PERIOD_NS = 50_000_000
CONTROL_MODE = "ee_delta"

CUBE_HALF = 0.02
"""Half the cube's edge [m]."""

FINGER_RADIUS = 0.012
"""The closed fingers, seen from above, are a disc of this radius [m]."""

FOLLOW = 0.6
"""Part of a commanded motion that is reached within one control step: a stiff arm with a little lag."""

MAX_TRANSLATION = 0.1
MAX_ROTATION = 0.1
GRIPPER_SPEED = 0.02  # opening change per control step [m]
MAX_WIDTH = 0.08
SUBSTEPS = 8  # at 0.1 m per step the finger moves 1.25 cm per substep: less than half a cube
WORKSPACE_LOW = np.array([0.25, -0.45, 0.01])
WORKSPACE_HIGH = np.array([1.00, 0.45, 0.60])
HOME_TCP = np.array([0.615, 0.0, 0.18])
HOME_JOINTS = np.array([0.0, math.pi / 8, 0.0, -math.pi * 5 / 8, 0.0, math.pi * 3 / 4, -math.pi / 4])
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeTask:
    """A task of the fake world."""

    instruction: str
    success_rule: str
    """A sentence for people."""
    max_steps: int
    """Control steps."""
    goal_distance: float
    """Success radius [m]."""
    has_cube: bool


FAKE_TASKS: dict[str, FakeTask] = {
    "FakePush-v0": FakeTask(
        instruction="push the cube to the goal",
        success_rule="the cube's centre is within 0.05 m of the goal's centre",
        max_steps=100,
        goal_distance=0.05,
        has_cube=True,
    ),
    "FakeReach-v0": FakeTask(
        instruction="move the gripper to the goal",
        success_rule="the gripper is within 0.02 m of the goal",
        max_steps=60,
        goal_distance=0.02,
        has_cube=False,
    ),
}


class FakeWorld(World):
    """A point gripper that pushes a cube; see World.

    Joint positions are a smooth stand-in for an arm's, not its kinematics: the TCP pose is the truth here. The tasks of
    the fake Franka, which is a node and no world, are listed here too, because users choose them in the same way.
    """

    name = "fake"
    tasks = FAKE_TASKS
    task_type = FakeTask

    @classmethod
    def task_names(cls) -> tuple[str, ...]:
        """Return the tasks of the fake world and of the fake Franka."""
        return tuple(dict.fromkeys((*FAKE_TASKS, *FRANKA_TASKS, *super().task_names())))

    @classmethod
    def has_task(cls, name: str) -> bool:
        """Return whether there is such a task, here or on the fake Franka."""
        return name in FRANKA_TASKS or super().has_task(name)

    @classmethod
    def runs_by_itself(cls, task: str) -> bool:
        """Return whether the task belongs to the fake Franka."""
        return task in FRANKA_TASKS

    @classmethod
    def fixed_camera(cls, task: str) -> FixedCamera | None:
        """Return the camera of the fake world or of the fake Franka."""
        return fake_franka_camera() if task in FRANKA_TASKS else fake_camera()

    @classmethod
    def rules(cls, task: str) -> TaskRules:
        """Return the rules from the tables of tasks."""
        if task in FRANKA_TASKS:
            franka = FRANKA_TASKS[task]
            return TaskRules(
                control_mode="joint_trajectory", success_rule=franka.success_rule, max_steps=franka.max_steps
            )
        entry = cls.find_task(task)
        return TaskRules(
            control_mode=CONTROL_MODE, success_rule=entry.success_rule, max_steps=entry.max_steps
        )

    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        self._task: FakeTask = self.find_task(task)
        self.spec = WorldSpec(
            name="fake",
            task=task,
            control_mode=CONTROL_MODE,
            success_rule=self._task.success_rule,
            default_max_steps=self._task.max_steps,
            control_period_ns=CONTROL_PERIOD_NS,
            instruction=self._task.instruction,
            robot="panda",
            fixed_camera=CameraSpec(name="fixed", fov_y=0.8, image_size=(image_size, image_size)),
            wrist_camera=CameraSpec(name="wrist", fov_y=math.pi / 2, image_size=(image_size, image_size)),
        )
        self._painter = FakePainter(image_size, image_size, visible=render)
        self._tcp = HOME_TCP.copy()
        self._rotation = np.eye(3)
        self._width = MAX_WIDTH
        self._cube = np.zeros(3)
        self._goal = np.zeros(3)
        self._joints = HOME_JOINTS.copy()
        self._speeds = np.zeros(7)

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode, as World.reset; there are no stored initial states.

        Raises:
            UserError: The seed is negative, or `init_state` is an index.
        """
        if init_state not in (BY_SEED, DRAWN):
            raise UserError(
                f"{self.spec.task} has no stored initial states, but init_state is {init_state}; use -1 and a seed."
            )
        if seed < 0:
            raise UserError(f"A seed must not be negative, but it is {seed}.")
        rng = np.random.default_rng(seed)
        self._tcp = HOME_TCP + rng.normal(0.0, 0.01, 3)
        self._rotation = np.diag([1.0, -1.0, -1.0])
        self._width = MAX_WIDTH
        spot = np.array([0.615, 0.0]) + rng.uniform(-0.1, 0.1, 2)
        if self._task.has_cube:
            self._cube = np.array([*spot, CUBE_HALF])
            self._goal = np.array([spot[0] + 0.2, spot[1], 0.0])
        else:
            self._goal = np.array([*spot, rng.uniform(0.06, 0.25)])
        self._joints = self._stand_in_joints()
        self._speeds = np.zeros(7)
        return self._observe()

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Apply one canonical action, float32 [7], for one control period (50 ms), as World.step."""
        values = check_action(action)
        move = np.clip(values[:3], -MAX_TRANSLATION, MAX_TRANSLATION) * FOLLOW
        turn = values[3:6]
        angle = float(np.linalg.norm(turn))
        turn = turn * (FOLLOW * min(1.0, MAX_ROTATION / angle)) if angle > 0.0 else turn
        self._rotation = matrix_from_rotation_vector(turn) @ self._rotation
        wanted = MAX_WIDTH if values[6] > 0.0 else 0.0
        self._width += float(np.clip(wanted - self._width, -GRIPPER_SPEED, GRIPPER_SPEED))
        target = np.clip(self._tcp + move, WORKSPACE_LOW, WORKSPACE_HIGH)
        part = (target - self._tcp) / SUBSTEPS
        for _ in range(SUBSTEPS):
            self._tcp = self._tcp + part
            if self._task.has_cube:
                self._push()
        joints = self._stand_in_joints()
        self._speeds = (joints - self._joints) / (CONTROL_PERIOD_NS * 1e-9)
        self._joints = joints
        return self._observe(render)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def displace(self, name: str, by: Float64Array) -> None:
        """Move the cube by a vector [3] in m, at once.

        Raises:
            UserError: The task has no such thing.
        """
        if name != "cube" or not self._task.has_cube:
            raise UserError(f"{self.spec.task} has no {name} to move")
        self._cube = self._cube + by

    def _push(self) -> None:
        """Move the cube out of the finger along the axis of least overlap (it slides without turning)."""
        if self._tcp[2] > 2 * CUBE_HALF + 0.01:
            return
        reach = CUBE_HALF + FINGER_RADIUS
        dx, dy = float(self._cube[0] - self._tcp[0]), float(self._cube[1] - self._tcp[1])
        if abs(dx) >= reach or abs(dy) >= reach:
            return
        if abs(dx) >= abs(dy):
            self._cube[0] = self._tcp[0] + math.copysign(reach, dx)
        else:
            self._cube[1] = self._tcp[1] + math.copysign(reach, dy)

    def _stand_in_joints(self) -> Float64Array:
        x, y, z = self._tcp
        joints = HOME_JOINTS.copy()
        joints[0] += math.atan2(y, x)
        joints[1] += math.hypot(x, y) - HOME_TCP[0]
        joints[3] += z - HOME_TCP[2]
        return joints

    def _observe(self, render: bool = True) -> Observation:
        objects = {"goal": Pose(position=self._goal.copy(), quaternion=UPRIGHT.copy())}
        thing = self._tcp
        cube = None
        if self._task.has_cube:
            objects = {"cube": Pose(position=self._cube.copy(), quaternion=UPRIGHT.copy()), **objects}
            thing = cube = self._cube
        offset = thing - self._goal
        distance = math.hypot(offset[0], offset[1]) if self._task.has_cube else float(np.linalg.norm(offset))
        fixed, wrist = self._painter.paint(self._tcp, self._width, cube, self._goal, visible=render)
        return Observation(
            rgb_fixed=fixed,
            rgb_wrist=wrist,
            positions=self._joints.copy(),
            velocities=self._speeds.copy(),
            gripper_width=self._width,
            tcp_pose=Pose(
                position=self._tcp.copy(), quaternion=steady_quaternion_from_matrix(self._rotation)
            ),
            objects=objects,
            success=distance < self._task.goal_distance,
        )
