# SPDX-License-Identifier: Apache-2.0
"""Where to take LIBERO's objects: sizes of their collision geometry and the grasps that follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from physgen_control.geometry import matrix_from_unit_quaternion
from physgen_control.types import Float64Array
from physgen_sim_bridge.libero.motion import State, downward, nearest_heading

# Corners (lowest, highest) of the collision geometry in the object's own frame [m], measured in the scenes.
BOXES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "alphabet_soup": ((-0.0313, -0.0386, -0.0349), (0.0311, 0.0376, 0.0275)),
    "bbq_sauce": ((-0.0235, -0.0146, -0.0546), (0.0235, 0.0146, 0.0525)),
    "black_book": ((-0.0148, -0.0673, 0.0022), (0.0139, 0.0430, 0.1366)),
    "butter": ((-0.0381, -0.0198, -0.0087), (0.0381, 0.0198, 0.0087)),
    "chocolate_pudding": ((-0.0406, -0.0232, -0.0131), (0.0396, 0.0232, 0.0143)),
    "cream_cheese": ((-0.0406, -0.0213, -0.0089), (0.0406, 0.0213, 0.0089)),
    "ketchup": ((-0.0277, -0.0724, -0.0176), (0.0286, 0.0732, 0.0191)),
    "milk": ((-0.0265, -0.0698, -0.0263), (0.0266, 0.0614, 0.0263)),
    "orange_juice": ((-0.0266, -0.0697, -0.0262), (0.0264, 0.0614, 0.0262)),
    "salad_dressing": ((-0.0273, -0.0727, -0.0180), (0.0254, 0.0729, 0.0176)),
    "tomato_sauce": ((-0.0312, -0.0386, -0.0341), (0.0310, 0.0376, 0.0275)),
    "wine_bottle": ((-0.0207, -0.0220, 0.0011), (0.0219, 0.0222, 0.1580)),
}

FINGER_BELOW = 0.012
"""The finger tips end this far below the grip site [m]."""

PALM_ABOVE = 0.035
"""An object may rise this far above the grip site before the palm touches it [m]."""

SHOULDER, ARM = 0.333, 0.685
"""Height of the shoulder, and how far from it the wrist gets: 0.70 m stretched, less a little [m]."""

WRIST_ABOVE, WRIST_INWARD, HOVER = 0.204, 0.088, 0.065
"""Where the wrist of a hand that points down is, seen from its grip site; how far above its goal it starts [m]."""

PALM = (0.107, 0.036)
"""Half the palm's size along and across the fingers' motion, with a little air [m]."""

TURNS = (0.0, 0.15, -0.15, 0.3, -0.3, 0.45, -0.45)
"""Turns away from the best finger direction that still grasp a box [rad]."""

WIDEST = 0.07
"""Widest object between the fingers [m], of 0.08 that they open."""


@dataclass(frozen=True, slots=True)
class Rim:
    """A round vessel, whose wall the fingers close on."""

    radius: float
    """Of that place, in the vessel's frame [m]."""
    height: float
    """Of that place, in the vessel's frame [m]."""


RIMS = {
    "akita_black_bowl": Rim(0.0475, 0.040),
    "porcelain_mug": Rim(0.038, 0.095),
    "white_yellow_mug": Rim(0.040, 0.090),
}


@dataclass(frozen=True, slots=True)
class Grasp:
    """A hand pose around an object, base frame."""

    position: Float64Array
    """Of the grip site, [3] in m."""
    rotation: Float64Array
    """Matrix [3, 3]."""
    top: float
    """Height of the object [m]."""
    inward: Float64Array
    """Unit vector [3] from a rim to the middle of its vessel; zero for other objects."""


def category(name: str) -> str:
    """Return the kind of an object: its BDDL name without the number."""
    return re.sub(r"_\d+$", "", name)


def grasp_of(name: str, state: State, attempt: int, angles: tuple[float, ...]) -> Grasp:
    """Return the grasp of an object.

    Args:
        name: The object.
        state: Where everything is.
        attempt: 0, 1, ...: each attempt may choose another grasp.
        angles: Where on a round vessel's rim to close the fingers, in turn [rad, base frame].
    """
    kind = category(name)
    if kind in RIMS:
        grasps = [_rim_grasp(name, RIMS[kind], state, angle) for angle in angles]
        within = [grasp for grasp in grasps if in_reach(grasp.position)] or grasps
        return within[attempt % len(within)]
    return _box_grasp(name, state, attempt)


def in_reach(position: Float64Array) -> bool:
    """Return whether a hand that points down gets to a position ([3] in m, base frame) and a little above it."""
    height = float(position[2]) + HOVER + WRIST_ABOVE - SHOULDER
    wrist = float(np.hypot(position[0], position[1])) - WRIST_INWARD
    return float(np.hypot(wrist, height)) < ARM


def _rim_grasp(name: str, rim: Rim, state: State, angle: float) -> Grasp:
    pose = state.objects[name]
    outward = np.array([np.cos(angle), np.sin(angle), 0.0])
    # A tilted vessel's rim is higher on one side: follow its own axis.
    axes = matrix_from_unit_quaternion(pose.quaternion)
    up = axes[:, 2]
    flat = outward - up * float(outward @ up)
    position = pose.position + up * rim.height + rim.radius * flat / float(np.linalg.norm(flat))
    return Grasp(position, downward(nearest_heading(angle, state)), float(position[2]) + 0.015, -outward)


def _box_grasp(name: str, state: State, attempt: int) -> Grasp:
    low, high = (np.array(corner) for corner in BOXES[category(name)])
    axes = matrix_from_unit_quaternion(state.objects[name].quaternion)
    centre, extent = _footprint(name, state)
    bottom, top = centre[2] - extent[2] / 2.0, centre[2] + extent[2] / 2.0
    height = max(bottom + FINGER_BELOW + 0.001, top - PALM_ABOVE)
    heading = _closing_direction(axes, high - low, state, attempt)
    heading += _free_turn(np.array([centre[0], centre[1], height]), heading, name, state)
    return Grasp(np.array([centre[0], centre[1], height]), downward(heading), float(top), np.zeros(3))


def _footprint(name: str, state: State) -> tuple[Float64Array, Float64Array]:
    """Return centre and size, each [2] in m, of an object's box along the base frame's axes."""
    low, high = (np.array(corner) for corner in BOXES[category(name)])
    pose = state.objects[name]
    axes = matrix_from_unit_quaternion(pose.quaternion)
    return pose.position + axes @ ((low + high) / 2.0), np.abs(axes) @ (high - low)


def _free_turn(position: Float64Array, heading: float, name: str, state: State) -> float:
    """Return the smallest turn [rad] with which the palm, which is wide, comes down on none of the neighbours."""
    for turn in TURNS:
        closing = np.array([np.cos(heading + turn), np.sin(heading + turn)])
        across = np.array([-closing[1], closing[0]])
        for other in state.objects:
            if other == name or category(other) not in BOXES:
                continue
            centre, extent = _footprint(other, state)
            if centre[2] + extent[2] / 2.0 < position[2] + PALM_ABOVE:
                continue
            away = centre[:2] - position[:2]
            radius = float(max(extent[0], extent[1])) / 2.0
            beside = abs(float(away @ across)) > PALM[1] + radius
            if not beside and abs(float(away @ closing)) < PALM[0] + radius:
                break
        else:
            return turn
    return 0.0


def _closing_direction(axes: Float64Array, size: Float64Array, state: State, attempt: int) -> float:
    """Return the direction of the fingers' motion [rad]: along the narrower horizontal axis; if equal, the nearer."""
    vertical = int(np.argmax(np.abs(axes[2])))
    flat = [axis for axis in range(3) if axis != vertical]
    flat.sort(key=lambda axis: size[axis])
    headings = [
        nearest_heading(float(np.arctan2(axes[1, axis], axes[0, axis])), state)
        for axis in flat
        if size[axis] < WIDEST
    ]
    if len(headings) == 2 and size[flat[1]] < 1.15 * size[flat[0]]:
        current = float(np.arctan2(state.rotation[1, 1], state.rotation[0, 1]))
        headings.sort(key=lambda heading: abs(heading - current))
    return headings[attempt % len(headings)] if attempt % 2 else headings[0]
