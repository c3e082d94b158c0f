# SPDX-License-Identifier: Apache-2.0
"""ManiSkill tabletop tasks as a World: CPU physics, software rendering, two cameras, state in the robot base frame.

mani-skill is imported only when a world is made; one process should hold one world (remote_world.py), because the
simulator owns global state (renderer, torch threads, logging).
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array, Pose, UInt8Image
from physgen_sim_bridge.canonical_action import maniskill_action
from physgen_sim_bridge.maniskill.scene_changes import change_built_scene, fixed_camera_pose, set_lights
from physgen_sim_bridge.maniskill.simulator import CONTROL_MODE, CONTROL_PERIOD_NS, WRIST_FOV, make_native_env
from physgen_sim_bridge.maniskill.tasks import TASKS, ManiSkillTask
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

    def show_objects_only(self) -> None:
        """Leave the arm and what is drawn in the air out of all pictures until the next reset; physics is as before."""
        import sapien

        markers = [getattr(self._env, name) for name in self._task.markers]
        bodies = [link._objs[0].entity for link in self._agent.robot.links]
        for entity in bodies + [marker._objs[0] for marker in markers]:
            body = entity.find_component_by_type(sapien.render.RenderBodyComponent)
            if body is not None:
                body.visibility = 0.0

    def displace(self, name: str, by: Float64Array) -> None:
        """Move an object by a vector [3] in m, at once; it is at rest afterwards."""
        import sapien

        actor = dict(self._objects)[name]
        pose = actor.pose.raw_pose[0].numpy().astype(np.float64)
        actor.set_pose(sapien.Pose(pose[:3] + by, pose[3:]))
        for set_velocity in (actor.set_linear_velocity, actor.set_angular_velocity):
            set_velocity(np.zeros(3, np.float32))

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
