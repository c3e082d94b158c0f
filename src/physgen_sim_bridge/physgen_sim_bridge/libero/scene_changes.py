# SPDX-License-Identifier: Apache-2.0
"""Changes LIBERO's scene in its MuJoCo model: camera, lamps, colours, the arm's start and where things stand.

The model is built once and kept over episodes, so its clean numbers are kept too and put back before every change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from physgen_control.types import Float64Array
from physgen_sim_bridge.perturbation.scene import (
    CameraShift,
    LayoutChange,
    LightChange,
    SceneChange,
    TextureChange,
)
from physgen_sim_bridge.perturbation.viewpoint import looking_axes, orbit, turn_direction

_KEPT = ("cam_pos", "cam_quat", "light_pos", "light_dir", "light_diffuse", "light_castshadow", "mat_rgba")
_LAMP_DISTANCE = 4.0
_FREE_JOINT = 0  # mujoco.mjtJoint.mjJNT_FREE
_STANDS = ("floor", "table", "world")
"""Beginnings of the names of bodies that things stand on: what touches only these can be displaced."""


class SceneChanges:
    """Owns the clean numbers of one model."""

    def __init__(self, env: Any, camera: str) -> None:
        self._model = env.sim.model._model
        self._camera = env.sim.model.camera_name2id(camera)
        self._clean = {name: np.array(getattr(self._model, name)) for name in _KEPT}
        head = self._model.vis.headlight
        self._clean_head = np.array(head.diffuse), np.array(head.ambient)

    def apply_looks(self, scene: SceneChange) -> None:
        """Camera, lamps and colours; the clean scene is restored bit by bit first."""
        for name, values in self._clean.items():
            getattr(self._model, name)[:] = values
        head = self._model.vis.headlight
        head.diffuse[:], head.ambient[:] = self._clean_head
        if scene.camera != CameraShift():
            self._move_camera(scene.camera)
        if scene.light != LightChange():
            self._light(scene.light)
        if scene.texture.weight:
            self._recolour(scene.texture)

    def _move_camera(self, shift: CameraShift) -> None:
        from robosuite.utils.transform_utils import mat2quat, quat2mat

        model, camera = self._model, self._camera
        eye = np.array(self._clean["cam_pos"][camera])
        axes = quat2mat(self._clean["cam_quat"][camera][[1, 2, 3, 0]])  # columns: right, up, backward
        target = eye - axes[:, 2] * self._view_length(eye, -axes[:, 2])
        place = orbit(eye, target, shift)
        # The clean camera may be a little rolled about its axis: that is kept.
        before, after = looking_axes(eye, target, 0.0), looking_axes(place, target, shift.roll)
        model.cam_pos[camera] = place
        model.cam_quat[camera] = np.array(mat2quat(after @ before.T @ axes))[[3, 0, 1, 2]]

    def _view_length(self, eye: Float64Array, forward: Float64Array) -> float:
        """How far ahead [m] the camera's axis meets the height of the table, or of the floor without a table."""
        return float((eye[2] - self._table_height()) / max(-forward[2], 0.2))

    def _table_height(self) -> float:
        model = self._model
        heights = [
            float(model.body(model.geom_bodyid[g]).pos[2] + model.geom_pos[g][2] + model.geom_size[g][2])
            for g in _geoms_of(model, "table")
            if model.geom(g).name.endswith("table_collision")
        ]
        return max(heights, default=0.0)

    def _light(self, light: LightChange) -> None:
        model = self._model
        colour = np.array(light.colour) * light.intensity
        for lamp in range(model.nlight):
            comes_from = turn_direction(-self._clean["light_dir"][lamp], light.azimuth, light.elevation)
            model.light_dir[lamp] = -comes_from
            model.light_pos[lamp] = comes_from * _LAMP_DISTANCE
            model.light_diffuse[lamp] = np.clip(self._clean["light_diffuse"][lamp] * colour, 0.0, 1.0)
            model.light_castshadow[lamp] = light.shadows and lamp == 0
        head, (diffuse, ambient) = model.vis.headlight, self._clean_head
        head.diffuse[:] = np.clip(diffuse * colour, 0.0, 1.0)
        head.ambient[:] = np.clip(ambient * colour, 0.0, 1.0)

    def _recolour(self, texture: TextureChange) -> None:
        """Tint the materials of what things stand on, and of walls and floor behind it."""
        model = self._model
        stands = set(_materials_of(model, "table")) or set(_materials_of(model, "floor"))
        behind = set(_materials_of(model, "world")) | set(_materials_of(model, "floor"))
        for materials, colour in ((behind - stands, texture.background), (stands, texture.table)):
            for material in materials:
                tint = (1.0 - texture.weight) + texture.weight * np.array(colour)
                model.mat_rgba[material, :3] = self._clean["mat_rgba"][material, :3] * tint


def move_arm(env: Any, joints: tuple[float, ...]) -> None:
    """Begin beside the start pose by these angles [rad], within the joints' limits; then call forward()."""
    if not joints:
        return
    robot, simulation = env.robots[0], env.sim
    model, data = simulation.model._model, simulation.data
    for index, (qpos, offset) in enumerate(zip(robot._ref_joint_pos_indexes, joints, strict=True)):
        low, high = model.jnt_range[robot._ref_joint_indexes[index]]
        data.qpos[qpos] = np.clip(data.qpos[qpos] + offset, low, high)


def displace(env: Any, layout: LayoutChange) -> None:
    """Displace everything that stands by itself on the table, as far as it touches nothing else there.

    To be called when things have come to rest. What lies in, on or under something stays, for the task's words say
    where it is.
    """
    if not layout.shift:
        return
    simulation = env.sim
    model, data = simulation.model._model, simulation.data
    free = [j for j in range(model.njnt) if model.jnt_type[j] == _FREE_JOINT]
    alone = [j for j in free if not (_touched_by(model, data, model.jnt_bodyid[j]) - _stands(model))]
    for index, joint in enumerate(alone):
        address = model.jnt_qposadr[joint]
        start = np.array(data.qpos[address : address + 2])
        heading = layout.headings[index % len(layout.headings)]
        for share in (1.0, 0.75, 0.5, 0.25, 0.0):
            step = share * layout.shift * np.array([np.cos(heading), np.sin(heading)])
            data.qpos[address : address + 2] = start + step
            simulation.forward()
            if not (_touched_by(model, data, model.jnt_bodyid[joint]) - _stands(model)):
                break


def _stands(model: Any) -> set[int]:
    return {
        b
        for b in range(model.nbody)
        if model.body(b).name.startswith(_STANDS) or "table" in model.body(b).name
    }


def _touched_by(model: Any, data: Any, body: int) -> set[int]:
    """Bodies other than itself that a thing touches."""
    touched: set[int] = set()
    for contact in data._data.contact[: data.ncon] if hasattr(data, "_data") else data.contact[: data.ncon]:
        pair = [int(model.body_rootid[model.geom_bodyid[g]]) for g in (contact.geom1, contact.geom2)]
        whole = int(model.body_rootid[body])
        if whole in pair:
            touched.update(b for b in pair if b != whole)
    return touched


def _geoms_of(model: Any, body: str) -> Iterator[int]:
    """Geoms of the bodies whose name is this, or ends with it (living_room_table)."""
    for geom in range(model.ngeom):
        name = model.body(model.geom_bodyid[geom]).name
        if name == body or name.endswith(f"_{body}"):
            yield geom


def _materials_of(model: Any, body: str) -> Iterator[int]:
    for geom in _geoms_of(model, body):
        if model.geom_matid[geom] >= 0:
            yield int(model.geom_matid[geom])
