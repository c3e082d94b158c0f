# SPDX-License-Identifier: Apache-2.0
"""Changes ManiSkill's scene: camera and lamps while it is built, arm, colours and added things right after.

The scene is built anew at every reset, so that nothing of a change outlives its episode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from physgen_control.types import Float64Array
from physgen_sim_bridge.perturbation.scene import (
    CameraShift,
    Distractor,
    LightChange,
    SceneChange,
    free_places,
)
from physgen_sim_bridge.perturbation.viewpoint import looking_axes, orbit, turn_direction

# The stock lamps (BaseEnv._load_lighting): ambient light, and the directions in which the two lamps shine.
_AMBIENT = 0.3
_LAMPS = ((1.0, 1.0, -1.0), (0.0, 0.0, -1.0))


def fixed_camera_pose(
    eye: tuple[float, float, float], target: tuple[float, float, float], shift: CameraShift
) -> Any:
    """The simulator's pose of the fixed camera after a shift; without one exactly the stock one."""
    from mani_skill.utils import sapien_utils

    if shift == CameraShift():
        return sapien_utils.look_at(eye, target)
    import sapien

    place = orbit(np.array(eye), np.array(target), shift)
    matrix = np.eye(4)
    matrix[:3, :3] = looking_axes(place, np.array(target), shift.roll)
    matrix[:3, 3] = place
    return sapien.Pose(matrix)


def set_lights(env: Any, light: LightChange) -> None:
    """Have the next scenes lit so; the clean light is the simulator's own code."""
    env.__dict__.pop("_load_lighting", None)
    if light == LightChange():
        return
    colour = np.array(light.colour) * light.intensity

    def load(options: dict[str, Any]) -> None:
        del options
        env.scene.set_ambient_light((_AMBIENT * colour).tolist())
        for index, shines in enumerate(_LAMPS):
            comes_from = turn_direction(-np.array(shines), light.azimuth, light.elevation)
            env.scene.add_directional_light(
                (-comes_from).tolist(),
                colour.tolist(),
                shadow=light.shadows and index == 0,
                shadow_scale=5,
                shadow_map_size=2048,
            )

    env._load_lighting = load


def change_built_scene(env: Any, scene: SceneChange, objects: list[Float64Array], *, render: bool) -> None:
    """Change what is there right after a reset.

    Args:
        env: The unwrapped environment.
        scene: What to change.
        objects: Positions of the task's objects in the base frame [m], float64 [3] each.
        render: There are materials to recolour.
    """
    if scene.joints:
        _move_arm(env, scene.joints)
    if scene.layout.distractors:
        base = env.agent.robot.pose.raw_pose[0].numpy()
        places = free_places(scene.layout.places, len(scene.layout.distractors), objects)
        for index, (thing, place) in enumerate(zip(scene.layout.distractors, places, strict=False)):
            _add(env, f"distractor_{index}", thing, place[0] + float(base[0]), place[1] + float(base[1]))
    if render and scene.texture.weight:
        table, ground = env.table_scene.table, env.table_scene.ground
        _recolour(table, np.array(scene.texture.table), scene.texture.weight)
        _recolour(ground, np.array(scene.texture.background), scene.texture.weight)


def _move_arm(env: Any, joints: tuple[float, ...]) -> None:
    robot = env.agent.robot
    positions = robot.get_qpos().clone()
    limits = robot.get_qlimits()[0, :7]
    moved = positions[0, :7] + positions.new_tensor(joints)
    positions[0, :7] = moved.clamp(limits[:, 0], limits[:, 1])
    robot.set_qpos(positions)
    env.agent.controller.reset()


def _add(env: Any, name: str, thing: Distractor, x: float, y: float) -> None:
    import sapien

    builder = env.scene.create_actor_builder()
    material = sapien.render.RenderMaterial(base_color=[*thing.colour, 1.0])
    half = thing.half_size
    if thing.shape == "cylinder":
        upright = sapien.Pose(q=[0.70710678, 0.0, 0.70710678, 0.0])  # its axis is x
        builder.add_cylinder_collision(pose=upright, radius=half[0], half_length=half[2])
        builder.add_cylinder_visual(pose=upright, radius=half[0], half_length=half[2], material=material)
    else:
        builder.add_box_collision(half_size=list(half))
        builder.add_box_visual(half_size=list(half), material=material)
    builder.initial_pose = sapien.Pose([x, y, half[2]])
    builder.build(name=name)


def _recolour(actor: Any, colour: Float64Array, weight: float) -> None:
    """Mix a colour (RGB, 0 to 1) into every texture of an actor; the texture's pattern stays in the rest."""
    import sapien

    for material in _materials(actor):
        texture = material.base_color_texture
        if texture is None:
            continue
        pixels = texture.download().astype(np.float64)
        pixels[..., :3] = (1.0 - weight) * pixels[..., :3] + weight * 255.0 * colour
        material.base_color_texture = sapien.render.RenderTexture2D(
            pixels.astype(np.uint8),
            texture.format,
            texture.mipmap_levels,
            texture.filter_mode,
            texture.address_mode,
            texture.is_srgb,
        )


def _materials(actor: Any) -> Iterator[Any]:
    import sapien

    for entity in actor._objs:
        body = entity.find_component_by_type(sapien.render.RenderBodyComponent)
        for shape in body.render_shapes:
            for part in shape.parts:
                yield part.material
