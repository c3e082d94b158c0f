# SPDX-License-Identifier: Apache-2.0
"""One variant of a category: a frozen value, drawn from a level and a number, and how large it is.

Whatever the category, the size of a variant is 0 to 1: level L of 5 has sizes above (L - 1) / 5 and up to L / 5, so
that a higher level always means more. What a size of 1 is, the constants say.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from physgen_sim_bridge.perturbation.picture_noise import FILTERS, PictureNoise
from physgen_sim_bridge.perturbation.scene import (
    CameraShift,
    Distractor,
    LayoutChange,
    LightChange,
    SceneChange,
    TextureChange,
    colour_of_hue,
)

CATEGORIES = ("camera", "robot", "light", "noise", "language", "layout", "texture")
LEVELS = (1, 2, 3, 4, 5)
MAX_LEVEL = LEVELS[-1]

CAMERA = (math.radians(25.0), math.radians(20.0), 0.3, math.radians(12.0))
"""Azimuth, elevation, logarithm of the distance, roll."""
ROBOT = 0.5
"""Length of the joints' vector [rad]."""
LIGHT = (math.radians(80.0), math.radians(40.0), math.log(2.0))
"""Azimuth, elevation, logarithm of the intensity; the colour's factors go from 1 down to 0.35."""
LAYOUT_SHIFT = 0.06
"""Displacement of what stands on the table [m]; the things added are as many as the level."""

NO_CHANGE, NO_NOISE = SceneChange(), PictureNoise()

# How the hand's height changes with each joint at the start pose [m/rad], about the same in both simulators.
_HEIGHT_BY_JOINT = np.array([0.0, -0.55, 0.0, 0.42, 0.0, 0.09, 0.0])
_PLACES = 24
_THINGS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a category does at a level; `number` tells the variants of a level apart. Level 0 changes nothing."""

    category: str
    level: int
    number: int
    scene: SceneChange = NO_CHANGE
    noise: PictureNoise = NO_NOISE


def draw(category: str, level: int, number: int) -> Variant:
    """The variant of a category: the same three arguments give the same value, on every machine.

    Numbers are rounded to four digits, so that the value survives a text file.

    Raises:
        ValueError: There is no such category or level.
    """
    if category not in CATEGORIES or not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"there is no category {category!r} with level {level}")
    if level == 0:
        return Variant(category=category, level=0, number=number)
    rng = np.random.default_rng((zlib.crc32(category.encode()), level, number))
    size = (level - rng.uniform(0.0, 0.5)) / MAX_LEVEL
    scene, noise = NO_CHANGE, NO_NOISE
    match category:
        case "camera":
            scene = SceneChange(camera=_camera(rng, size))
        case "robot":
            scene = SceneChange(joints=_joints(rng, size))
        case "light":
            scene = SceneChange(light=_light(rng, size))
        case "noise":
            name = FILTERS[number % len(FILTERS)]
            noise = PictureNoise(filter=name, strength=_round(size), seed=int(rng.integers(2**31)))
        case "layout":
            scene = SceneChange(layout=_layout(rng, size, level))
        case "texture":
            scene = SceneChange(texture=_texture(rng, size))
    return Variant(category=category, level=level, number=number, scene=scene, noise=noise)


def size_of(variant: Variant) -> float:
    """Size of a variant, 0 to 1; the words of a language variant have no size but their level's."""
    scene = variant.scene
    match variant.category:
        case "camera":
            shift = scene.camera
            parts = (shift.azimuth, shift.elevation, math.log(shift.distance), shift.roll)
            return _length(parts, CAMERA)
        case "robot":
            return math.hypot(*scene.joints) / ROBOT if scene.joints else 0.0
        case "light":
            light = scene.light
            turned = _length((light.azimuth, light.elevation, math.log(light.intensity)), LIGHT)
            return math.hypot(turned, (1.0 - min(light.colour)) / 0.65)
        case "noise":
            return variant.noise.strength
        case "layout":
            return scene.layout.shift / LAYOUT_SHIFT
        case "texture":
            return scene.texture.weight
    return variant.level / MAX_LEVEL


def _length(parts: tuple[float, ...], units: tuple[float, ...]) -> float:
    return math.hypot(*(part / unit for part, unit in zip(parts, units, strict=True)))


def _direction(rng: np.random.Generator, size: float, dimensions: int) -> np.ndarray:
    vector = rng.normal(0.0, 1.0, dimensions)
    return np.asarray(vector * (size / np.linalg.norm(vector)))


def _camera(rng: np.random.Generator, size: float) -> CameraShift:
    azimuth, elevation, distance, roll = _direction(rng, size, 4) * CAMERA
    return CameraShift(
        azimuth=_round(azimuth),
        elevation=_round(elevation),
        distance=_round(math.exp(distance)),
        roll=_round(roll),
    )


def _joints(rng: np.random.Generator, size: float) -> tuple[float, ...]:
    """A random direction; its opposite where it would press the hand towards the table."""
    offset = _direction(rng, size * ROBOT, 7)
    if offset @ _HEIGHT_BY_JOINT < 0.0:
        offset = -offset
    return tuple(_round(value) for value in offset)


def _light(rng: np.random.Generator, size: float) -> LightChange:
    azimuth, elevation, intensity, tint = _direction(rng, size, 4)
    red, green, blue = colour_of_hue(rng.uniform(), 0.65 * abs(tint), 1.0)
    return LightChange(
        azimuth=_round(azimuth * LIGHT[0]),
        elevation=_round(elevation * LIGHT[1]),
        intensity=_round(math.exp(intensity * LIGHT[2])),
        colour=(red, green, blue),
        shadows=bool(rng.uniform() < size),
    )


def _layout(rng: np.random.Generator, size: float, level: int) -> LayoutChange:
    things = []
    for _ in range(level):
        shape = ("box", "cylinder")[int(rng.integers(2))]
        half = [_round(v) for v in rng.uniform(0.012, 0.03, 3)]
        colour = colour_of_hue(rng.uniform(), rng.uniform(0.5, 1.0), rng.uniform(0.4, 1.0))
        things.append(Distractor(shape=shape, half_size=(half[0], half[1], half[2]), colour=colour))
    places = [(_round(rng.uniform(0.35, 0.9)), _round(rng.uniform(-0.32, 0.32))) for _ in range(_PLACES)]
    return LayoutChange(
        shift=_round(size * LAYOUT_SHIFT, 5),
        headings=tuple(_round(v) for v in rng.uniform(-math.pi, math.pi, _THINGS)),
        distractors=tuple(things),
        places=tuple(places),
    )


def _texture(rng: np.random.Generator, size: float) -> TextureChange:
    table, background = (
        colour_of_hue(rng.uniform(), rng.uniform(0.4, 1.0), rng.uniform(0.5, 1.0)) for _ in range(2)
    )
    return TextureChange(weight=_round(size), table=table, background=background)


def _round(value: float, digits: int = 4) -> float:
    return round(float(value), digits)
