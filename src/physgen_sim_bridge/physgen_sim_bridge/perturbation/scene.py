# SPDX-License-Identifier: Apache-2.0
"""What a world can be asked to change about its scene, as values, and the protocol of worlds that can.

Every default changes nothing: a world that is asked for `SceneChange()` is the clean world, to the last bit.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_sim_bridge.world import World

WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraShift:
    """Moves the fixed camera on a sphere about the point of the table that it looks at.

    azimuth: about the vertical axis [rad]. elevation: upwards [rad]. distance: factor. roll: about the viewing axis
    [rad].
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = 1.0
    roll: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LightChange:
    """Changes every lamp of the scene.

    azimuth, elevation: turn of the direction that light comes from [rad]. intensity: factor. colour: factors of red,
    green and blue. shadows: things throw them, which they do in no clean world here.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    intensity: float = 1.0
    colour: tuple[float, float, float] = WHITE
    shadows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextureChange:
    """Recolours what things stand on, and what is behind: from their colour (weight 0) to this one (1); RGB, 0 to 1.

    A world mixes or tints, so that some of the pattern stays.
    """

    weight: float = 0.0
    table: tuple[float, float, float] = WHITE
    background: tuple[float, float, float] = WHITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Distractor:
    """A thing that has no part in the task: a box or an upright cylinder (half sizes [m]; a cylinder uses x and z)."""

    shape: str = "box"
    half_size: tuple[float, float, float] = (0.02, 0.02, 0.02)
    colour: tuple[float, float, float] = WHITE


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutChange:
    """Adds things, or displaces those that are there: a world does one or both, and says so in docs/robustness.md.

    shift: how far each movable thing is displaced on its table [m]; headings: in which directions, thing by thing
    [rad]. distractors: what is added; places: where to try, in this order, as x and y in the robot's base frame [m].
    """

    shift: float = 0.0
    headings: tuple[float, ...] = ()
    distractors: tuple[Distractor, ...] = ()
    places: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneChange:
    """What is different in a scene; joints: added to the start pose of the arm's seven joints [rad], none if empty."""

    camera: CameraShift = CameraShift()
    joints: tuple[float, ...] = ()
    light: LightChange = LightChange()
    layout: LayoutChange = LayoutChange()
    texture: TextureChange = TextureChange()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the fields that change something."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != f.default)


@runtime_checkable
class ChangeableWorld(Protocol):
    """What a World has besides when its scene can be changed."""

    def change(self, scene: SceneChange) -> None:
        """Change the scene from the next reset on; SceneChange() undoes everything.

        Raises:
            UserError: the world cannot do a part of it.
        """
        ...


def change_scene(world: World, scene: SceneChange) -> None:
    """Ask a world for a changed scene.

    Raises:
        UserError: the world cannot change anything, or not this.
    """
    if isinstance(world, ChangeableWorld):
        world.change(scene)
    elif scene.parts:
        raise UserError(
            f"{world.spec.task} of {world.spec.name} cannot change its {' and '.join(scene.parts)}; noise, language "
            "and the controls work with every world, the other categories with maniskill and libero."
        )


def free_places(
    places: Sequence[tuple[float, float]],
    count: int,
    objects: Sequence[Float64Array],
    *,
    margin: float = 0.11,
    reach: float = 0.15,
    apart: float = 0.075,
) -> list[tuple[float, float]]:
    """The first `count` places that leave the task alone; fewer where fewer fit.

    A place fits when it is `margin` away from the way between the task's objects, drawn `reach` further at both ends
    (a hand comes from behind what it pushes), and `apart` from the places before. All in metres, base frame; objects:
    float64 [>= 2] each.
    """
    chosen: list[tuple[float, float]] = []
    ends = [(float(o[0]), float(o[1])) for o in objects]
    for place in places:
        if len(chosen) == count:
            break
        clear = all(
            _distance_to_way(place, a, b, reach) > margin
            for i, a in enumerate(ends)
            for b in (ends[i + 1 :] or [a])
        )
        if clear and all((place[0] - x) ** 2 + (place[1] - y) ** 2 > apart**2 for x, y in chosen):
            chosen.append(place)
    return chosen


def _distance_to_way(
    point: tuple[float, float], a: tuple[float, float], b: tuple[float, float], reach: float
) -> float:
    along = (b[0] - a[0], b[1] - a[1])
    length = (along[0] ** 2 + along[1] ** 2) ** 0.5
    # Straight above one another there is no way on the table: the hand comes along the arm.
    unit = (along[0] / length, along[1] / length) if length > 1e-3 else (1.0, 0.0)
    offset = (point[0] - a[0], point[1] - a[1])
    t = min(max(offset[0] * unit[0] + offset[1] * unit[1], -reach), length + reach)
    return float(((offset[0] - t * unit[0]) ** 2 + (offset[1] - t * unit[1]) ** 2) ** 0.5)


def colour_of_hue(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """RGB, each 0 to 1, rounded to three digits."""
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red, 3), round(green, 3), round(blue, 3)
