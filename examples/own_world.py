# SPDX-License-Identifier: Apache-2.0
"""A world of one's own: a dot that the hand must reach, drawn with NumPy. See docs/own_things.md.

./physgen eval --sim examples/own_world.py:DotWorld --policy expert --episodes 2 --out runs/dot
./physgen launch sim:=examples/own_world.py:DotWorld policy:=expert
./physgen collect --sim examples/own_world.py:DotWorld --task Dot-v0 --episodes 10
"""

import numpy as np

from physgen_control.types import Pose
from physgen_sim_bridge.experts.reach import ReachExpert
from physgen_sim_bridge.world import BY_SEED, CameraSpec, Expert, Observation, World, WorldSpec

DOWN = np.array([1.0, 0.0, 0.0, 0.0])  # the hand points down: quaternion x, y, z, w


class DotWorld(World):
    name = "dot"
    tasks = {"Dot-v0": "touch the dot"}

    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        self.spec = WorldSpec(
            name="dot",
            task=task,
            control_mode="ee_delta",
            success_rule="the hand is within 0.02 m of the dot",
            default_max_steps=60,
            control_period_ns=50_000_000,
            instruction=self.tasks[task],
            robot="panda",
            fixed_camera=CameraSpec(name="fixed", fov_y=0.8, image_size=(image_size, image_size)),
            wrist_camera=CameraSpec(name="wrist", fov_y=1.5, image_size=(image_size, image_size)),
        )
        self.size, self.hand, self.dot, self.width = image_size, np.zeros(3), np.zeros(3), 0.08

    @classmethod
    def make_expert(cls, task: str) -> Expert:
        return ReachExpert()  # goes to the object that is called goal

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        self.hand = np.array([0.5, 0.0, 0.3])
        self.dot = self.hand + np.random.default_rng(seed).uniform(-0.1, 0.1, 3)
        return self.observe()

    def step(self, action: np.ndarray, *, render: bool = True) -> Observation:
        self.hand = np.clip(self.hand + np.asarray(action[:3], float), [0.3, -0.4, 0.1], [0.8, 0.4, 0.6])
        self.width = 0.08 if action[6] > 0 else 0.0
        return self.observe()

    def observe(self) -> Observation:
        image = np.full((self.size, self.size, 3), 255, np.uint8)
        for place, colour in ((self.dot, (200, 0, 0)), (self.hand, (0, 0, 200))):
            row, column = (np.array([0.8 - place[0], place[1] + 0.4]) / 0.8 * (self.size - 9)).astype(int)
            image[max(row, 0) : row + 8, max(column, 0) : column + 8] = colour
        return Observation(
            rgb_fixed=image,
            rgb_wrist=image,
            positions=np.zeros(7),
            velocities=np.zeros(7),
            gripper_width=self.width,
            tcp_pose=Pose(position=self.hand.copy(), quaternion=DOWN),
            objects={"goal": Pose(position=self.dot.copy(), quaternion=np.array([0.0, 0.0, 0.0, 1.0]))},
            success=float(np.linalg.norm(self.hand - self.dot)) < 0.02,
        )
