# SPDX-License-Identifier: Apache-2.0
"""ManiSkill tabletop tasks as a World: CPU physics, software rendering, two cameras, state in the robot base frame.

mani-skill is imported only when a world is made; one process should hold one world (remote_world.py), because the
simulator owns global state (renderer, torch threads, logging).
"""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Pose, UInt8Image
from physgen_sim_bridge.canonical_action import maniskill_action
from physgen_sim_bridge.maniskill.scene_changes import change_built_scene, fixed_camera_pose, set_lights
from physgen_sim_bridge.perturbation.scene import SceneChange
from physgen_sim_bridge.world import (
    BY_SEED,
    DRAWN,
    CameraSpec,
    Expert,
    FixedCamera,
    Observation,
    TaskRules,
    World,
    WorldSpec,
    looking,
)

CONTROL_MODE = "pd_ee_delta_pose"
CONTROL_PERIOD_NS = 50_000_000
"""pd_ee_delta_pose runs at 20 Hz."""

ROBOT_UID = "panda_wristcam"
"""The stock uid is reused on purpose: the scenes choose the start pose of the arm by this name."""

# Camera on panda_hand: position [m] and quaternion (w, x, y, z) of the stock RealSense mount, field of view 90 degrees.
WRIST_POSITION = (0.0464982, -0.0200011, 0.0360011)
WRIST_QUATERNION = (0.70710678, 0.0, -0.70710678, 0.0)
WRIST_FOV = math.pi / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ManiSkillTask:
    """A task: its words, its limits and its fixed camera.

    The camera looks from `eye` to `target` in the simulator's world frame: robot base at x = -0.615 m, table top at z =
    0.
    """

    instruction: str
    success_rule: str
    max_steps: int
    """Control steps."""
    objects: tuple[tuple[str, str], ...]
    """Our name and the attribute of the environment, of each."""
    eye: tuple[float, float, float]
    """[m]"""
    target: tuple[float, float, float]
    """[m]"""
    fov: float
    """Vertical field of view [rad]."""
    env_id: str = ""
    """The environment's id in gymnasium where it is not the task's name."""
    expert: Callable[[], Expert] | None = None
    """Makes the task's scripted expert; None: the table of experts may have one."""


# The fixed camera stands opposite the robot, a little to its left, so that the cube is always between the camera and
# the gripper that pushes it, and the slant shows depth.
TASKS: dict[str, ManiSkillTask] = {
    "PushCube-v1": ManiSkillTask(
        instruction="push the cube to the goal",
        success_rule="the cube's centre is within 0.1 m of the goal's centre, on the table",
        max_steps=100,
        objects=(("cube", "obj"), ("goal", "goal_region")),
        eye=(0.70, 0.18, 0.50),
        target=(0.06, 0.0, 0.03),
        fov=0.70,
    ),
    "PickCube-v1": ManiSkillTask(
        instruction="pick up the cube and move it to the goal",
        success_rule="the cube's centre is within 0.025 m of the goal and the arm is still",
        max_steps=150,
        objects=(("cube", "cube"), ("goal", "goal_site")),
        eye=(0.65, 0.18, 0.50),
        target=(0.0, 0.0, 0.14),
        fov=0.75,
    ),
    "StackCube-v1": ManiSkillTask(
        instruction="stack the red cube on the green cube",
        success_rule="the red cube lies still on the green cube and is not held",
        max_steps=200,
        objects=(("cubeA", "cubeA"), ("cubeB", "cubeB")),
        eye=(0.65, 0.18, 0.50),
        target=(-0.02, 0.0, 0.06),
        fov=0.92,
    ),
}

BASE_X = -0.615  # where the scenes put the robot's base on the world's x axis [m]; its axes are the world's


class ManiSkillWorld(World):
    """One ManiSkill environment: a World.

    The invisible goal of PickCube is drawn in both cameras (a green ball): without it the task cannot be done from
    images. With render=False the images are black and a step costs a few milliseconds.
    """

    name = "maniskill"
    tasks = TASKS
    task_type = ManiSkillTask
    package = "mani_skill"

    @classmethod
    def rules(cls, task: str) -> TaskRules:
        """Return the rules from the table of tasks."""
        entry = cls.find_task(task)
        return TaskRules(
            control_mode=CONTROL_MODE, success_rule=entry.success_rule, max_steps=entry.max_steps
        )

    @classmethod
    def fixed_camera(cls, task: str) -> FixedCamera | None:
        """Return the camera of the table of tasks."""
        (ex, ey, ez), (tx, ty, tz) = cls.find_task(task).eye, cls.find_task(task).target
        pose = looking((ex - BASE_X, ey, ez), (tx - BASE_X, ty, tz))
        return FixedCamera(pose=pose, fov_y=cls.find_task(task).fov)

    @classmethod
    def make_expert(cls, task: str) -> Expert | None:
        """Return the expert that the task names."""
        make = cls.find_task(task).expert
        return None if make is None else make()

    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        self._task: ManiSkillTask = self.find_task(task)
        self._render = render
        self._env: Any = None
        self.spec = WorldSpec(
            name="maniskill",
            task=task,
            control_mode=CONTROL_MODE,
            success_rule=self._task.success_rule,
            default_max_steps=self._task.max_steps,
            control_period_ns=CONTROL_PERIOD_NS,
            instruction=self._task.instruction,
            robot="panda",
            fixed_camera=CameraSpec(name="fixed", fov_y=self._task.fov, image_size=(image_size, image_size)),
            wrist_camera=CameraSpec(name="wrist", fov_y=WRIST_FOV, image_size=(image_size, image_size)),
        )
        self._env = make_native_env(task, self._task, image_size, render=render)
        self._fresh = True
        self._change = SceneChange()
        self._agent: Any = None
        self._objects: list[tuple[str, Any]] = []
        self._black = np.zeros((image_size, image_size, 3), dtype=np.uint8)
        self._black.flags.writeable = False

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode, as World.reset; these tasks have no stored initial states.

        Raises:
            UserError: The seed is not in 0 .. 2^32 - 1, or `init_state` is an index.
        """
        if init_state not in (BY_SEED, DRAWN):
            raise UserError(
                f"{self.spec.task} has no stored initial states, but init_state is {init_state}; use -1 and a seed."
            )
        if not 0 <= seed < 2**32:
            raise UserError(f"A seed must be in [0, 2^32), but it is {seed}.")
        if self._fresh:
            self._spare_garbage_collector()
        # A new physics scene per episode: contact caches and sleep counters of the last episode would otherwise
        # change the next one in the last digits, and so break "same seed, same episode".
        self._env.reset(seed=seed, options={"reconfigure": True})
        self._agent = self._env.agent
        self._objects = [(name, getattr(self._env, attribute)) for name, attribute in self._task.objects]
        if self._change.parts:
            base = self._agent.robot.pose.raw_pose[0].numpy().astype(np.float64)
            things = [_pose_in_base(actor, base).position for _, actor in self._objects]
            change_built_scene(self._env, self._change, things, render=self._render)
        return self._observe()

    def change(self, scene: SceneChange) -> None:
        """Change the scene from the next reset on; of the layout, things are added and none is displaced."""
        self._change = scene
        if self._render:
            pose = fixed_camera_pose(self._task.eye, self._task.target, scene.camera)
            self._env._custom_sensor_configs["base_camera"]["pose"] = pose
            set_lights(self._env, scene.light)

    def hide_robot(self) -> None:
        """Leave the arm out of all pictures until the next reset; physics is as before."""
        import sapien

        for link in self._agent.robot.links:
            body = link._objs[0].entity.find_component_by_type(sapien.render.RenderBodyComponent)
            if body is not None:
                body.visibility = 0.0

    def fixed_depth(self) -> Float32Array:
        """Return the fixed camera's depth: float32 [height, width], metres along its axis, 0 where nothing is."""
        self._env.scene.update_render(update_sensors=True, update_human_render_cameras=False)
        sensor = self._env._sensors["base_camera"]
        sensor.capture()
        # [mm] in the renderer's camera frame, which looks along its negative z.
        position = sensor.camera.get_picture(["PositionSegmentation"])[0][0].numpy()
        return np.ascontiguousarray(-0.001 * position[..., 2].astype(np.float32))

    def _spare_garbage_collector(self) -> None:
        """Leave everything loaded so far out of the full collections that ManiSkill runs at each reset.

        With a policy beside the simulator a collection looks at 330,000 objects for a second or two, which is half of
        a short episode. The scene that the constructor built is released first, or it would be kept for ever.
        """
        self._env.close()
        gc.collect()
        gc.freeze()
        self._fresh = False

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Apply one canonical action, float32 [7], for one control period (50 ms), as World.step."""
        # The environment's own step() would also build observations and rewards that nobody reads.
        self._env._step_action(maniskill_action(action))
        self._env._elapsed_steps += 1
        return self._observe(render)

    def close(self) -> None:
        """Free the scene."""
        if self._env is not None:
            self._objects, self._agent = [], None
            self._env.close()
            self._env = None

    def _observe(self, render: bool = True) -> Observation:
        robot = self._agent.robot
        base = robot.pose.raw_pose[0].numpy().astype(np.float64)
        joints = robot.get_qpos()[0].numpy().astype(np.float64)
        speeds = robot.get_qvel()[0].numpy().astype(np.float64)
        fixed, wrist = self._images(render)
        return Observation(
            rgb_fixed=fixed,
            rgb_wrist=wrist,
            positions=joints[:7],
            velocities=speeds[:7],
            gripper_width=float(joints[7] + joints[8]),
            tcp_pose=_pose_in_base(self._agent.tcp, base),
            objects={name: _pose_in_base(actor, base) for name, actor in self._objects},
            success=bool(self._env.evaluate()["success"][0]),
        )

    def _images(self, render: bool) -> tuple[UInt8Image, UInt8Image]:
        if not (self._render and render):
            return self._black, self._black
        self._env.scene.update_render(update_sensors=True, update_human_render_cameras=False)
        sensors = self._env._sensors
        for sensor in sensors.values():  # start both pictures before waiting for the first
            sensor.capture()
        pictures = [sensors[uid].camera.get_picture(["Color"])[0] for uid in ("base_camera", "hand_camera")]
        fixed, wrist = (np.ascontiguousarray(picture[0, :, :, :3].numpy()) for picture in pictures)
        return fixed, wrist


def _pose_in_base(thing: Any, base: np.ndarray) -> Pose:
    """Return the pose of an actor or link in the base frame, which is only translated."""
    raw = thing.pose.raw_pose[0].numpy().astype(np.float64)
    return Pose(position=raw[:3] - base[:3], quaternion=raw[[4, 5, 6, 3]])


def make_native_env(
    task_id: str, task: ManiSkillTask, image_size: int, *, obs_mode: str = "none", render: bool = True
) -> Any:
    """Return the unwrapped environment with both cameras; the World renders itself, so its obs_mode is "none".

    Raises:
        UserError: There is no device to draw with.
        RuntimeError: The simulator failed otherwise.
    """
    import gymnasium
    import sapien
    import torch
    from mani_skill import logger
    from mani_skill.agents.registration import register_agent
    from mani_skill.agents.robots.panda.panda import Panda
    from mani_skill.sensors.camera import CameraConfig
    from mani_skill.utils import sapien_utils

    # Every tensor here has a handful of numbers: more threads only cost time.
    torch.set_num_threads(1)
    # Two warnings per start-up tell of the reused uid: intended.
    logger.setLevel("ERROR")
    # SAPIEN asks pinocchio for a joint by its old name.
    warnings.filterwarnings("ignore", "Deprecated member", module="sapien")
    import mani_skill.envs  # noqa: F401  (registers the tasks)

    class LitePandaWristCam(Panda):
        """Panda with a wrist camera and no camera mesh: the stock one has 425,160 of the scene's 582,216 triangles."""

        uid = ROBOT_UID

        @property
        def _sensor_configs(self) -> list[Any]:
            return [
                CameraConfig(
                    uid="hand_camera",
                    pose=sapien.Pose(WRIST_POSITION, WRIST_QUATERNION),
                    width=image_size,
                    height=image_size,
                    fov=WRIST_FOV,
                    near=0.01,
                    far=100,
                    mount=self.robot.links_map["panda_hand"],
                )
            ]

    register_agent(override=True)(LitePandaWristCam)
    sensor_configs = {
        "width": image_size,
        "height": image_size,
        "base_camera": {"pose": sapien_utils.look_at(task.eye, task.target), "fov": task.fov},
    }
    try:
        env = gymnasium.make(
            task.env_id or task_id,
            obs_mode=obs_mode,
            control_mode=CONTROL_MODE,
            sim_backend="physx_cpu",
            render_backend="cpu" if render else "none",
            robot_uids=ROBOT_UID,
            sensor_configs=sensor_configs,
        )
    except RuntimeError as error:
        if "rendering device" in str(error) or "physical device" in str(error):
            raise UserError(
                "ManiSkill found no Vulkan device: install Mesa's lavapipe 24.3 or newer and point VK_ICD_FILENAMES at "
                f"its lvp_icd JSON file (the simulator said: {error})."
            ) from error
        raise
    # The wrapper would end episodes after 50 steps; the step limit is the caller's.
    return env.unwrapped
