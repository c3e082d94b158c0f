# SPDX-License-Identifier: Apache-2.0
"""What a world is: one simulated arm with two cameras that steps by canonical actions; knows no ROS and no time.

A world is stamp-free: the pacing layer decides when an observation was taken (clock.py).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from physgen_control.geometry import quaternion_from_matrix
from physgen_control.program.plugins import PluginError, PluginTable, is_reference
from physgen_control.types import Float32Array, Float64Array, Pose, RobotState, SimState, UInt8Image

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
class FixedCamera:
    """Where the fixed camera of a task stands."""

    pose: Pose
    """Of its optical frame (x right, y down, z forward) in the base frame."""
    fov_y: float
    """Vertical field of view of a pinhole camera that draws the same images [rad]."""


def looking(eye: tuple[float, float, float], target: tuple[float, float, float]) -> Pose:
    """Return the pose of an optical frame at `eye` [m] that looks to `target`, its image upright.

    The look must not be straight up or down: nothing would be upright then.
    """
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    axes = np.column_stack([right, np.cross(forward, right), forward])
    return Pose(position=np.array(eye, np.float64), quaternion=quaternion_from_matrix(axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSpec:
    """What a world is, readable before its first reset."""

    name: str
    task: str
    control_mode: str
    success_rule: str
    """A sentence for people and results files."""
    default_max_steps: int
    """Control steps."""
    control_period_ns: int
    instruction: str
    """A sentence for people and results files."""
    robot: str
    """Such as panda."""
    fixed_camera: CameraSpec
    wrist_camera: CameraSpec
    joint_names: tuple[str, ...] = PANDA_JOINTS
    finger_names: tuple[str, ...] = PANDA_FINGERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the robot and its cameras see after a control step; all arrays are owned by the receiver."""

    rgb_fixed: UInt8Image
    """uint8 [height, width, 3]."""
    rgb_wrist: UInt8Image
    """uint8 [height, width, 3]."""
    positions: Float64Array
    """float64 [7], arm joints in rad."""
    velocities: Float64Array
    """float64 [7], arm joints in rad/s."""
    gripper_width: float
    """Opening between the fingers [m]."""
    tcp_pose: Pose
    """In the robot base frame."""
    objects: Mapping[str, Pose]
    """Poses by name in the robot base frame; privileged information."""
    success: bool

    def robot_state(self, stamp_ns: int) -> RobotState:
        """Return what is measured of the arm, with its stamp [ns]."""
        return RobotState(
            stamp_ns=stamp_ns,
            positions=self.positions,
            velocities=self.velocities,
            gripper_width=self.gripper_width,
            tcp_pose=self.tcp_pose,
        )

    def sim_state(self, stamp_ns: int, episode_id: str) -> SimState:
        """Return what only a simulator knows, in the number formats of the message (float32 opening)."""
        return SimState(
            stamp_ns=stamp_ns,
            episode_id=episode_id,
            objects=dict(self.objects),
            tcp_pose=self.tcp_pose,
            gripper_width=float(np.float32(self.gripper_width)),
            success=self.success,
        )


class Expert(Protocol):
    """A scripted policy with privileged state."""

    def reset(self) -> None:
        """Start an episode."""
        ...

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the clean canonical action (the label), float32 [7].

        Args:
            objects: Poses of the scene's objects by name, in the robot base frame.
            tcp_pose: Measured pose of the tool centre point, in the robot base frame.
            gripper_width: Measured opening between the fingers [m].
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """What a simulator says of a task."""

    control_mode: str
    success_rule: str
    """A sentence for people."""
    max_steps: int
    """Control steps."""
    assets: str = ""
    """Names the set of scene files where it is not the simulator's own."""


class World(ABC):
    """One simulated scene; not thread safe. A subclass is made as `Subclass(task, image_size=128, render=True)`.

    What a subclass must have: `tasks` (or `task_names`), `spec` once it is made, `reset` and `step`. Everything else
    has a default. What is asked of the class itself must not start the simulator.

    Attributes:
        spec: What the world is.
        name: How users call the simulator; a group of entry points, `physgen.tasks.NAME`, adds tasks to it.
        tasks: Its own tasks by name; the values mean something to the subclass alone.
        task_type: What a task of others must be; None: nobody can add one.
        package: The Python package that it needs, "" for none.
        controller_file: A parameter file of the controller for this simulator beside the common one: a name in
            physgen_bringup's config folder or an absolute path; "" for none.
    """

    spec: WorldSpec
    name: ClassVar[str] = ""
    tasks: ClassVar[Mapping[str, Any]] = {}
    task_type: ClassVar[type | None] = None
    package: ClassVar[str] = ""
    controller_file: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        """Make the scene of a task; see the class."""

    @abstractmethod
    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode; the same seed and init_state give the same episode, whatever ran before.

        Args:
            seed: 0 to 2^32 - 1.
            init_state: Index of a stored initial state, or BY_SEED, or DRAWN.

        Raises:
            UserError: The seed or the index cannot be.
        """

    @abstractmethod
    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Apply one canonical action (7 numbers) for exactly one control period.

        Args:
            action: float32 [7].
            render: False when nobody will look at the images of this observation, which then are black. Drawing is most
                of a step; leaving it out changes nothing else, now or later.
        """

    def close(self) -> None:  # noqa: B027  (most worlds have nothing to free)
        """Free the simulator; calling it twice is harmless."""

    @classmethod
    def task_names(cls) -> tuple[str, ...]:
        """Return the tasks: its own first, then those that installed packages add."""
        return cls._table().names()

    @classmethod
    def default_task(cls) -> str:
        """Return the task that runs where none is named: the first one."""
        return cls.task_names()[0]

    @classmethod
    def suites(cls) -> tuple[str, ...]:
        """Return the names of groups of tasks, whose tasks are called SUITE/INDEX; none by default."""
        return ()

    @classmethod
    def describe_tasks(cls) -> str:
        """Return the tasks as one part of a sentence."""
        return ", ".join(cls.task_names())

    @classmethod
    def has_task(cls, name: str) -> bool:
        """Return whether there is such a task; `module:Name` is one where others may add tasks.

        Raises:
            PluginError: The task of somebody else cannot be imported or is none for this simulator.
        """
        if name in cls.task_names() or (cls.task_type is not None and is_reference(name)):
            if name not in cls.tasks and cls.task_type is not None:
                cls.find_task(name)
            return True
        return False

    @classmethod
    def find_task(cls, name: str) -> Any:
        """Return the value of a task: its own, of an installed package, or of `module:Name`.

        Raises:
            PluginError: There is none, or it is none for this simulator.
        """
        if name in cls.tasks:
            return cls.tasks[name]
        task = cls._table().load(name)
        if cls.task_type is not None and not isinstance(task, cls.task_type):
            raise PluginError(
                f"{name} is no task of {cls.name or cls.__name__}: it must be a {cls.task_type.__name__}, and it is a "
                f"{type(task).__name__}"
            )
        return task

    @classmethod
    def rules(cls, task: str) -> TaskRules:
        """Return the rules of a task; by default from the spec of a world that draws nothing."""
        world = cls(task, render=False)
        try:
            spec = world.spec
            return TaskRules(
                control_mode=spec.control_mode,
                success_rule=spec.success_rule,
                max_steps=spec.default_max_steps,
            )
        finally:
            world.close()

    @classmethod
    def runs_by_itself(cls, task: str) -> bool:
        """Return whether the task's arm has a clock of its own and cannot be stepped; False by default."""
        del task
        return False

    @classmethod
    def fixed_camera(cls, task: str) -> FixedCamera | None:  # noqa: ARG003
        """Return where the fixed camera of a task stands; None where only the simulator knows."""
        return None

    @classmethod
    def check_ready(cls) -> None:
        """Check that what the simulator needs beside its package is there.

        Raises:
            UserError: Something is missing.
        """
        return

    @classmethod
    def make_expert(cls, task: str) -> Expert | None:
        """Return the task's scripted expert; None by default: the table of experts may have one."""
        del task
        return None

    @classmethod
    def _table(cls) -> PluginTable:
        return PluginTable(
            group=f"physgen.tasks.{cls.name}",
            kind=f"task of {cls.name or cls.__name__}",
            ours=dict.fromkeys(cls.tasks, ""),
        )
