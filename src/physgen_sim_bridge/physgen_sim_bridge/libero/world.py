# SPDX-License-Identifier: Apache-2.0
"""LIBERO's tasks as a World: stored initial states, ten settling steps, OSC_POSE at 20 Hz, two upright cameras.

hf-libero is imported only when a world is made. One process should hold one world (remote_world.py): robosuite draws
from NumPy's global generator and the renderer is global.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array, Pose, UInt8Image
from physgen_sim_bridge.canonical_action import libero_action
from physgen_sim_bridge.libero.assets import describe_assets, find_assets
from physgen_sim_bridge.libero.experts import make_libero_expert
from physgen_sim_bridge.libero.init_states import read_init_states
from physgen_sim_bridge.libero.scene_changes import SceneChanges, displace, move_arm
from physgen_sim_bridge.libero.scene_parts import goal_sites, moving_parts, things
from physgen_sim_bridge.libero.simulator import (
    CAMERAS,
    CONTROL_HZ,
    check_bddl,
    init_states_path,
    make_native_env,
)
from physgen_sim_bridge.libero.tasks import (
    CONTROL_MODE,
    SETTLE_STEPS,
    STEP_LIMITS,
    SUCCESS_RULE,
    LiberoTask,
    libero_tasks,
)
from physgen_sim_bridge.perturbation.scene import SceneChange
from physgen_sim_bridge.world import (
    BY_SEED,
    DRAWN,
    CameraSpec,
    Expert,
    Observation,
    TaskRules,
    World,
    WorldSpec,
)

CONTROL_PERIOD_NS = 1_000_000_000 // CONTROL_HZ
MAX_PLACEMENTS = 100
"""Tries to place the things of a scene before giving up."""

START_SCATTER = 0.02
"""Standard deviation of every arm joint at the start of an episode [rad]: that of the stored states (all 50 of six
tasks), and robosuite's default, which LIBERO's own environment switches off."""

SETTLE_ACTION = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], dtype=np.float32)
"""No motion, gripper open (canonical)."""


class LiberoWorld(World):
    """One LIBERO environment: a World.

    An episode begins with a stored initial state or a drawn placement (`init_state`, see World.reset) after the
    benchmark's settling steps, which are not counted. The seed decides what a stored state does not hold: where the
    fixtures stand. With render=False the images are black and no picture is drawn.

    Poses are in the robot's base frame. objects holds every movable object and fixture under its BDDL name, each moving
    part of a fixture (drawers, doors, knobs) under its body's name, and the regions of the goal.
    """

    name = "libero"
    package = "libero"
    controller_file = "controller_libero.yaml"

    @classmethod
    def task_names(cls) -> tuple[str, ...]:
        """Return the tasks of all suites in the benchmark's order."""
        return tuple(libero_tasks())

    @classmethod
    def find_task(cls, name: str) -> LiberoTask:
        """Return the entry of a task in the benchmark's table."""
        return libero_tasks()[name]

    @classmethod
    def default_task(cls) -> str:
        """Return the first task of the suite that a shipped checkpoint was trained on."""
        return "libero_object/0"

    @classmethod
    def suites(cls) -> tuple[str, ...]:
        """Return the benchmark's suites."""
        return tuple(STEP_LIMITS)

    @classmethod
    def describe_tasks(cls) -> str:
        """Return the range of each suite."""
        names = cls.task_names()
        return ", ".join(
            f"{suite}/0 to {suite}/{sum(name.startswith(f'{suite}/') for name in names) - 1}"
            for suite in STEP_LIMITS
        )

    @classmethod
    def rules(cls, task: str) -> TaskRules:
        """Return the rules from the table of tasks, with the set of scene files that is here."""
        return TaskRules(
            control_mode=CONTROL_MODE,
            success_rule=SUCCESS_RULE,
            max_steps=libero_tasks()[task].max_steps,
            assets=str(describe_assets(find_assets())),
        )

    @classmethod
    def check_ready(cls) -> None:
        """Check that LIBERO's scene files are there.

        Raises:
            UserError: They are missing.
        """
        find_assets()

    @classmethod
    def make_expert(cls, task: str) -> Expert | None:
        """Return the task's expert, or raise UserError: the table of experts has none of LIBERO's."""
        return make_libero_expert(task)

    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        self._task = libero_tasks()[task]
        self._size = image_size
        check_bddl(self._task)
        self._states = read_init_states(init_states_path(self._task), self._task.init_sha256)
        self._env: Any = make_native_env(self._task, find_assets(), image_size, render=render)
        # The model does not change between episodes: building it again would cost seconds and change nothing.
        self._env.hard_reset = False
        self._render = render
        self._black = np.zeros((image_size, image_size, 3), dtype=np.uint8)
        self._black.flags.writeable = False
        self._base: Float64Array = np.zeros(3)
        self._objects: list[tuple[str, Callable[[str], Pose], str]] = []
        self._change = SceneChange()
        self._changes: SceneChanges | None = None
        self.spec = self._make_spec()

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode and let it settle, as World.reset.

        Raises:
            UserError: The seed is not in 0 .. 2^32 - 1, or there is no such initial state.
            RuntimeError: The scene found no room for its objects.
        """
        if not 0 <= seed < 2**32:
            raise UserError(f"A seed must be in [0, 2^32), but it is {seed}.")
        count = len(self._states)
        if not DRAWN <= init_state < count:
            raise UserError(
                f"{self.spec.task} has initial states 0 to {count - 1}, but init_state is {init_state}."
            )
        with _numpy_seed(seed):
            self._place()
        if init_state == DRAWN:
            self._scatter_arm(np.random.default_rng(seed))
        else:
            self._restore(self._states[seed % count if init_state == BY_SEED else init_state])
        # Robosuite's gripper integrates its command and keeps it over a reset: the last episode would leak in.
        gripper = self._env.robots[0].gripper
        gripper.current_action = np.zeros(gripper.dof)
        move_arm(self._env, self._change.joints)
        self._env.sim.forward()
        self._refer()
        for _ in range(SETTLE_STEPS):
            self._advance(SETTLE_ACTION)
        displace(self._env, self._change.layout)
        return self._observe()

    def change(self, scene: SceneChange) -> None:
        """Change the scene from the next reset on; of the layout, things are displaced and none is added."""
        if self._changes is None:  # before the first change the model is the clean one
            self._changes = SceneChanges(self._env, CAMERAS[0])
        self._change = scene
        self._changes.apply_looks(scene)

    def _restore(self, state: Float64Array) -> None:
        """Put arm and movable objects where a stored initial state has them.

        Raises:
            UserError: The state belongs to another scene.
        """
        simulation = self._env.sim
        if len(state) != 1 + simulation.model.nq + simulation.model.nv:
            raise UserError(
                f"The initial states of {self.spec.task} have {len(state)} numbers, but the scene has "
                f"{1 + simulation.model.nq + simulation.model.nv}; do the assets belong to LIBERO?"
            )
        simulation.set_state_from_flattened(state)

    def _scatter_arm(self, rng: np.random.Generator) -> None:
        """Begin beside the home pose, as the stored states do; the controller's posture stays home, as with them."""
        joints = self._env.robots[0]._ref_joint_pos_indexes
        self._env.sim.data.qpos[joints] += rng.normal(0.0, START_SCATTER, len(joints))

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Apply one canonical action, float32 [7], for one control period (50 ms), as World.step."""
        self._advance(action)
        return self._observe(render)

    def close(self) -> None:
        """Free the scene."""
        if self._env is not None:
            self._env.close()
            self._env = None
            self._objects = []

    def _place(self) -> None:
        """Reset the scene to a placement that it draws itself; a draw without room for everything is drawn again.

        Raises:
            RuntimeError: MAX_PLACEMENTS draws had no room.
        """
        from robosuite.utils.errors import RandomizationError

        for _ in range(MAX_PLACEMENTS):
            self._return_fixtures()
            try:
                self._env.reset()
                return
            except RandomizationError:
                continue
        raise RuntimeError(f"no room for the objects of {self.spec.task} in {MAX_PLACEMENTS} tries")

    def _return_fixtures(self) -> None:
        """Put stove, cabinet and the like where their files have them.

        LIBERO reads where things lie on a fixture while the fixture is there, and then moves both. In a scene that is
        not built anew the fixture still stands where the last reset moved it, and a bowl would miss the stove.
        """
        model = self._env.sim.model
        for fixture in self._env.fixtures_dict.values():
            body, element = model.body_name2id(fixture.root_body), fixture.get_obj()
            model.body_pos[body] = np.fromstring(element.get("pos", "0 0 0"), sep=" ")
            model.body_quat[body] = np.fromstring(element.get("quat", "1 0 0 0"), sep=" ")

    def _refer(self) -> None:
        """Look up what observations read: the base and the bodies and sites behind `objects`."""
        env = self._env
        self._base = np.array(env.sim.data.get_body_xpos("robot0_base"))
        self._objects = [(name, self._body_pose, thing.root_body) for name, thing in things(env)]
        self._objects += [(name, self._body_pose, name) for name in moving_parts(env)]
        self._objects += [(name, self._site_pose, name) for name in goal_sites(env)]

    def _advance(self, action: Float32Array) -> None:
        """Advance one control period as the environment's own step() does, without observables nobody reads."""
        env = self._env
        command = libero_action(action)
        for substep in range(int(env.control_timestep / env.model_timestep)):
            env.sim.forward()
            env._pre_action(command, substep == 0)
            env.sim.step()
        env._post_process()

    def _observe(self, render: bool = True) -> Observation:
        robot, data = self._env.robots[0], self._env.sim.data
        fingers = data.qpos[robot._ref_gripper_joint_pos_indexes]
        fixed, wrist = self._images(render)
        return Observation(
            rgb_fixed=fixed,
            rgb_wrist=wrist,
            positions=np.array(data.qpos[robot._ref_joint_pos_indexes], dtype=np.float64),
            velocities=np.array(data.qvel[robot._ref_joint_vel_indexes], dtype=np.float64),
            gripper_width=float(fingers[0] - fingers[1]),
            tcp_pose=self._tcp_pose(),
            objects={name: read(native) for name, read, native in self._objects},
            success=bool(self._env._check_success()),
        )

    def _tcp_pose(self) -> Pose:
        """Return the grip site between the finger tips with the hand's axes: z out of it, y as the fingers move."""
        data = self._env.sim.data
        return Pose(
            position=np.array(data.get_site_xpos("gripper0_grip_site")) - self._base,
            quaternion=_xyzw(data.get_body_xquat("robot0_right_hand")),
        )

    def _body_pose(self, body: str) -> Pose:
        data = self._env.sim.data
        return Pose(
            position=np.array(data.get_body_xpos(body)) - self._base,
            quaternion=_xyzw(data.get_body_xquat(body)),
        )

    def _site_pose(self, site: str) -> Pose:
        from robosuite.utils.transform_utils import mat2quat

        data = self._env.sim.data
        return Pose(
            position=np.array(data.get_site_xpos(site)) - self._base,
            quaternion=np.array(mat2quat(data.get_site_xmat(site)), dtype=np.float64),
        )

    def _images(self, render: bool) -> tuple[UInt8Image, UInt8Image]:
        if not (self._render and render):
            return self._black, self._black
        fixed, wrist = (self._image(camera) for camera in CAMERAS)
        return fixed, wrist

    def _image(self, camera: str) -> UInt8Image:
        """Return a camera's image, uint8 [y, x, 3]. OpenGL's first row is the lowest: turned over here, once."""
        raw = self._env.sim.render(width=self._size, height=self._size, camera_name=camera)
        return np.ascontiguousarray(raw[::-1])

    def _make_spec(self) -> WorldSpec:
        model = self._env.sim.model
        fixed, wrist = (math.radians(float(model.cam_fovy[model.camera_name2id(name)])) for name in CAMERAS)
        return WorldSpec(
            name="libero",
            task=self._task.task_id,
            control_mode=CONTROL_MODE,
            success_rule=SUCCESS_RULE,
            default_max_steps=self._task.max_steps,
            control_period_ns=CONTROL_PERIOD_NS,
            instruction=self._task.instruction,
            robot="panda",
            fixed_camera=CameraSpec(name="fixed", fov_y=fixed, image_size=(self._size, self._size)),
            wrist_camera=CameraSpec(name="wrist", fov_y=wrist, image_size=(self._size, self._size)),
        )


def _xyzw(quaternion: Any) -> Float64Array:
    """Return MuJoCo's quaternion (w, x, y, z) in message order."""
    return np.array(quaternion, dtype=np.float64)[[1, 2, 3, 0]]


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, from which robosuite samples, for the block; then restore its state."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
