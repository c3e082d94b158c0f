# SPDX-License-Identifier: Apache-2.0
"""One physical twin: MuJoCo steps the scene under canonical actions, as the real arm's controller would apply them.

Everything here is known exactly, because it is a simulation; what a policy may see of it is for the environment to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from physgen_control.geometry import (
    matrix_from_quaternion,
    quaternion_from_rotation_vector,
    quaternion_product,
)
from physgen_control.types import Float32Array, Float64Array, Pose
from physgen_physworld.scene.mjcf import FINGER_STROKE, TIMESTEP, scene_mjcf
from physgen_physworld.scene.scene import Scene
from physgen_physworld.values import yaw_quaternions

CONTROL_PERIOD = 0.05
PIECES = 5
"""A control step's motion is told in so many pieces, as a controller interpolates."""

LONGEST_STEP, LONGEST_TURN = 0.06, 0.1
"""What a canonical action may ask for in one control step [m], [rad]."""

PRESSING = -0.005
"""Where closing fingers are told to go [m]: beyond each other, so that they press on what is between them."""

HAND_START = np.array([0.47, 0.0, 0.18])
"""Where an arm waits [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What a picture does not show: mass [kg] and friction [1] by object's name; the arm's way in a step (0 to 1)."""

    masses: dict[str, float]
    frictions: dict[str, float]
    finger_friction: float
    follow: float

    @classmethod
    def middle(cls, scene: Scene) -> Properties:
        """The geometric middle of every range."""
        return cls(
            masses={box.name: float(np.sqrt(np.prod(box.mass))) for box in scene.boxes},
            frictions={box.name: float(np.sqrt(np.prod(box.friction))) for box in scene.boxes},
            finger_friction=1.0,
            follow=0.85,
        )

    @classmethod
    def drawn(cls, scene: Scene, rng: np.random.Generator) -> Properties:
        """Draw every property from its range, evenly in its logarithm."""

        def draw(limits: tuple[float, float]) -> float:
            return float(np.exp(rng.uniform(*np.log(limits))))

        return cls(
            masses={box.name: draw(box.mass) for box in scene.boxes},
            frictions={box.name: draw(box.friction) for box in scene.boxes},
            finger_friction=draw((0.7, 2.0)),
            follow=float(rng.uniform(0.65, 1.0)),
        )


class Twin:
    """A scene in MuJoCo; not thread safe."""

    def __init__(self, scene: Scene) -> None:
        import mujoco

        self.scene = scene
        self._mujoco: Any = mujoco
        self._model = mujoco.MjModel.from_xml_string(scene_mjcf(scene))
        self._data = mujoco.MjData(self._model)
        self._bodies = {box.name: self._model.body(box.name).id for box in scene.boxes}
        self._joints = {box.name: self._model.joint(box.name).qposadr[0] for box in scene.boxes}
        self._inertias = {name: self._model.body_inertia[body].copy() for name, body in self._bodies.items()}
        self._masses = {name: float(self._model.body_mass[body]) for name, body in self._bodies.items()}
        self._hand = self._model.body("hand").id
        self._fingers = [int(self._model.joint(side).qposadr[0]) for side in ("left", "right")]
        self._pads = [self._model.geom(f"pad_{side}").id for side in ("left", "right")]
        self._follow = 1.0
        self.reset(Properties.middle(scene))

    def reset(
        self,
        properties: Properties,
        hand: Pose | None = None,
        shifts: dict[str, Float64Array] | None = None,
    ) -> None:
        """Start over.

        Args:
            properties: masses and frictions to use.
            hand: where the hand is, open; None: where an arm waits.
            shifts: by object's name how far it really is from where the scene says: x, y [m] and yaw [rad].
        """
        self._mujoco.mj_resetData(self._model, self._data)
        for name, body in self._bodies.items():
            mass = properties.masses[name]
            self._model.body_mass[body] = mass
            self._model.body_inertia[body] = self._inertias[name] * mass / self._masses[name]
            self._model.geom(name).friction[0] = properties.frictions[name]
        for pad in self._pads:
            self._model.geom_friction[pad, 0] = properties.finger_friction
        self._follow = properties.follow
        start = hand or Pose(position=HAND_START, quaternion=np.array([1.0, 0.0, 0.0, 0.0]))
        place = np.concatenate([start.position, start.quaternion[[3, 0, 1, 2]]])
        address = self._model.joint("hand").qposadr[0]
        self._data.qpos[address : address + 7] = place
        self._data.mocap_pos[0], self._data.mocap_quat[0] = place[:3], place[3:]
        for finger in self._fingers:
            self._data.qpos[finger] = FINGER_STROKE
        self._data.ctrl[:] = FINGER_STROKE
        for box in self.scene.boxes:
            shift = (shifts or {}).get(box.name, np.zeros(3))
            address = self._joints[box.name]
            self._data.qpos[address : address + 3] = box.position + np.array([shift[0], shift[1], 0.0])
            self._data.qpos[address + 3 : address + 7] = yaw_quaternions([box.yaw + shift[2]])[0][
                [3, 0, 1, 2]
            ]
        self._mujoco.mj_forward(self._model, self._data)

    def place(self, hand: Pose, gripper_width: float, objects: dict[str, Pose], *, closing: bool) -> None:
        """Put hand and objects where they are thought to be now, at rest; properties stay.

        Args:
            hand: pose of the TCP.
            gripper_width: opening between the fingers [m].
            objects: poses by name; others stay where they are.
            closing: the fingers press on what is between them.
        """
        self._data.qvel[:] = 0.0
        self._data.qacc_warmstart[:] = 0.0
        place = np.concatenate([hand.position, hand.quaternion[[3, 0, 1, 2]]])
        address = self._model.joint("hand").qposadr[0]
        self._data.qpos[address : address + 7] = place
        self._data.mocap_pos[0], self._data.mocap_quat[0] = place[:3], place[3:]
        half = float(np.clip(gripper_width / 2, 0.0, FINGER_STROKE))
        for finger in self._fingers:
            self._data.qpos[finger] = half
        self._data.ctrl[:] = PRESSING if closing else half
        for name, pose in objects.items():
            address = self._joints[name]
            self._data.qpos[address : address + 3] = pose.position
            self._data.qpos[address + 3 : address + 7] = pose.quaternion[[3, 0, 1, 2]]
        self._mujoco.mj_forward(self._model, self._data)

    def step(self, action: Float32Array) -> None:
        """Apply a canonical action (7 numbers) for one control period."""
        values = np.asarray(action, np.float64)
        move, turn = _no_longer(values[:3], LONGEST_STEP), _no_longer(values[3:6], LONGEST_TURN)
        pose = self.tcp_pose
        opening = FINGER_STROKE * float(np.clip(values[6], -1.0, 1.0) + 1.0) / 2
        self._data.ctrl[:] = opening if opening > 0 else PRESSING
        substeps = round(CONTROL_PERIOD / TIMESTEP / PIECES)
        for piece in range(1, PIECES + 1):
            share = self._follow * piece / PIECES
            self._data.mocap_pos[0] = pose.position + share * move
            turned = quaternion_product(quaternion_from_rotation_vector(share * turn), pose.quaternion)
            self._data.mocap_quat[0] = turned[[3, 0, 1, 2]]
            self._mujoco.mj_step(self._model, self._data, substeps)

    @property
    def tcp_pose(self) -> Pose:
        """The tool centre point."""
        return self._pose(self._hand)

    @property
    def gripper_width(self) -> float:
        """Opening between the fingers [m]."""
        return max(0.0, float(sum(self._data.qpos[finger] for finger in self._fingers)))

    def object_pose(self, name: str) -> Pose:
        """The true pose of an object."""
        return self._pose(self._bodies[name])

    def boxes(self) -> list[tuple[str, Float64Array, Float64Array, Float64Array]]:
        """Return every box there is: its name, middle [3] (m), axes as columns [3, 3], half edges [3] (m)."""
        model, data = self._model, self._data
        return [
            (
                str(model.geom(index).name),
                data.geom_xpos[index].copy(),
                data.geom_xmat[index].reshape(3, 3).copy(),
                model.geom_size[index].copy(),
            )
            for index in range(model.ngeom)
            if model.geom_type[index] == self._mujoco.mjtGeom.mjGEOM_BOX
        ]

    @property
    def penetration(self) -> float:
        """How deep the deepest contact is [m]: bodies that are pressed into each other."""
        distances = self._data.contact.dist
        return max(0.0, -float(distances.min())) if len(distances) else 0.0

    @property
    def is_finite(self) -> bool:
        """Whether the simulation is still one."""
        return bool(np.all(np.isfinite(self._data.qpos)))

    def _pose(self, body: int) -> Pose:
        return Pose(
            position=self._data.xpos[body].copy(), quaternion=self._data.xquat[body][[1, 2, 3, 0]].copy()
        )


def _no_longer(vector: Float64Array, longest: float) -> Float64Array:
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector


def up_axis(pose: Pose) -> Float64Array:
    """Return the object's own z axis in the base frame: it has toppled when that is not up."""
    return matrix_from_quaternion(pose.quaternion)[:, 2]
