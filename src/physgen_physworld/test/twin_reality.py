"""A reality for tests: MuJoCo moves the things, plain drawing shows them; it gives pictures and the robot's state."""

from __future__ import annotations

import numpy as np
from drawn_scene import GREEN, RED, camera, draw

from physgen_control.types import Float32Array, Float64Array, Pose
from physgen_physworld.execution.reality import Seen, Verdict
from physgen_physworld.scene.scene import Scene
from physgen_physworld.twin.twin import Properties, Twin
from physgen_physworld.values import yaw_of


class TwinReality:
    """Where things really are differs from the scene by `shifts` (x, y, yaw); the arm is a grey patch over the hand."""

    def __init__(
        self,
        scene: Scene,
        instruction: str,
        target: Float64Array,
        shifts: dict[str, Float64Array] | None = None,
    ) -> None:
        self.camera = camera()
        self.instruction = instruction
        self.max_steps = 150
        self._twin = Twin(scene)
        self._shifts = shifts or {}
        self._target = target
        self.looks = 0

    def begin(self, seed: int) -> Seen:
        rng = np.random.default_rng(seed)
        self._twin.reset(Properties.drawn(self._twin.scene, rng), shifts=self._shifts)
        return self._seen(look=True)

    def depth(self) -> Float32Array:
        raise NotImplementedError

    def step(self, action: Float32Array, *, look: bool) -> Seen:
        self._twin.step(action)
        return self._seen(look=look)

    def judge(self) -> Verdict:
        moved = self._twin.object_pose(self._twin.scene.moved).position
        return Verdict(
            success=bool(np.linalg.norm(moved - self._target) < 0.02),
            positions={box.name: self._twin.object_pose(box.name).position for box in self._twin.scene.boxes},
        )

    def _seen(self, *, look: bool) -> Seen:
        picture = None
        hand: Pose = self._twin.tcp_pose
        if look:
            self.looks += 1
            boxes = []
            for box in self._twin.scene.boxes:
                pose = self._twin.object_pose(box.name)
                colour = GREEN if box.name.startswith("green") else RED
                boxes.append((pose.position, yaw_of(pose.quaternion), colour))
            boxes.sort(key=lambda box: (box[0][2], box[0][0]))
            column, row = self.camera.project((hand.position + np.array([0.0, 0.0, 0.05]))[None])[0]
            arm = (
                max(0, int(row) - 60),
                max(0, int(row)),
                max(0, int(column) - 12),
                max(0, int(column) + 12),
            )
            picture = draw(self.camera, boxes, arm)
        return Seen(
            picture=picture,
            positions=np.zeros(7),
            gripper_width=self._twin.gripper_width,
            tcp_pose=hand,
        )
