# SPDX-License-Identifier: Apache-2.0
"""Scripts for what does not come along: drawers, the stove's knob, a plate that slides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.geometry import matrix_from_unit_quaternion
from physgen_control.types import Float64Array
from physgen_sim_bridge.libero.motion import (
    CLOSED,
    OPEN,
    Script,
    State,
    Target,
    downward,
    hold,
    leaning,
    nearest_heading,
    reach,
    rise,
)

HANDLE = {"top": 0.1839, "middle": 0.1104, "bottom": 0.0411}
"""Height of each drawer's handle in the cabinet's frame [m]."""

HANDLE_X, HANDLE_Y = -0.0028, -0.1016
"""The middle of every handle in the cabinet's frame [m]; drawers open along -y."""

TILT = 1.1
"""The hand leans this far towards the cabinet [rad], so that it comes in below the next handle."""

PUSH_TILT = 0.6
"""The same while pushing a drawer shut, so that the palm stays clear of the handles above [rad]."""

PLATE_RADIUS, PLATE_GRASP = 0.066, 0.014
"""Where the fingers close on a plate's rim: from its middle, and above its origin [m]."""

KNOB_TOP = 0.05
"""Height of the stove's knob above the stove's origin [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawer:
    """A drawer of a cabinet."""

    cabinet: str
    """Name of the cabinet."""
    level: str
    """"top", "middle" or "bottom"."""

    @property
    def part(self) -> str:
        """Name of the moving body."""
        return f"{self.cabinet}_cabinet_{self.level}"

    def opening(self, state: State) -> float:
        """Return how far it is open [m]."""
        return float(np.linalg.norm(state.position(self.part) - state.position(self.cabinet)))

    def outward(self, state: State) -> Float64Array:
        """Return the unit vector [3] along which it opens, base frame."""
        return -matrix_from_unit_quaternion(state.objects[self.cabinet].quaternion)[:, 1]

    def handle(self, state: State) -> Float64Array:
        """Return the middle of its handle, [3] in m, base frame."""
        local = np.array([HANDLE_X, HANDLE_Y, HANDLE[self.level]])
        return (
            state.position(self.part)
            + matrix_from_unit_quaternion(state.objects[self.part].quaternion) @ local
        )


def open_drawer(drawer: Drawer, distance: float, state: State) -> Script:
    """Take the handle with a leaning hand, pull the drawer open by `distance` [m], and move away."""
    for _ in range(4):
        outward = drawer.outward(state)
        # Fingers above and below the bar; the hand leans in, away from where the drawer comes to.
        rotation = downward(float(np.arctan2(-outward[1], -outward[0])), TILT)
        lean = rotation[:, 2]
        # A little outside of the bar's middle: the finger tips would touch the drawer's front otherwise.
        handle = drawer.handle(state) + 0.008 * outward
        state = yield from reach(Target(handle - 0.10 * lean, rotation, OPEN), state, within=0.012, limit=90)
        state = yield from reach(Target(handle, rotation, OPEN, 0.6), state, within=0.006, limit=40)
        closing = Target(handle, rotation, CLOSED)
        for _ in range(12):
            state = yield closing
        for _ in range(60):
            left = distance - drawer.opening(state)
            if left < 0.0:
                break
            if float(np.linalg.norm(state.hand - drawer.handle(state))) > 0.04:
                break
            pull = state.hand + outward * max(0.008, min(0.02, left))
            pull[2] = drawer.handle(state)[2]
            state = yield Target(pull, rotation, CLOSED, 0.6)
        state = yield from hold(6, OPEN, state)
        away = Target(state.hand - 0.08 * lean, rotation, OPEN)
        state = yield from reach(away, state, within=0.02, limit=25)
        if drawer.opening(state) > distance - 0.01:
            break
    return state


def close_drawer(drawer: Drawer, state: State) -> Script:
    """Push the drawer shut with closed fingers against its handle."""
    outward = drawer.outward(state)
    rotation = leaning(-outward, PUSH_TILT, state)
    start = drawer.handle(state) + 0.06 * outward
    above = np.array([start[0], start[1], max(float(state.hand[2]), start[2] + 0.10)])
    state = yield from reach(Target(above, rotation, CLOSED), state, within=0.02, limit=90)
    state = yield from reach(Target(start, rotation, CLOSED), state, within=0.015, limit=50)
    for _ in range(120):
        push = state.hand - 0.03 * outward
        push[2] = start[2]
        state = yield Target(push, rotation, CLOSED, 0.8)
    return state


def turn_knob(stove: str, angle: float, state: State) -> Script:
    """Pinch the stove's knob and turn it by `angle` [rad] from where it is (positive is on)."""
    knob = f"{stove}_button"
    start = heading_of(knob, state)
    for _ in range(4):
        axis = state.position(knob)
        # The knob is a bar along its own y axis: the fingers close across it.
        heading = nearest_heading(heading_of(knob, state), state)
        position = axis + np.array([0.0, 0.0, KNOB_TOP - 0.012])
        above = Target(position + np.array([0.0, 0.0, 0.07]), downward(heading), OPEN)
        state = yield from reach(above, state, within=0.008, limit=90)
        down = Target(position, downward(heading), OPEN, 0.6)
        state = yield from reach(down, state, within=0.006, limit=40)
        closing = Target(position, downward(heading), CLOSED)
        for _ in range(10):
            state = yield closing
        for _ in range(60):
            turned = _wrapped(heading_of(knob, state) - start)
            if turned > angle:
                break
            ahead = nearest_heading(heading_of(knob, state), state) + 0.5
            state = yield Target(position, downward(ahead), CLOSED)
        state = yield from hold(6, OPEN, state)
        state = yield from rise(float(state.hand[2]) + 0.10, OPEN, state, limit=25)
        if _wrapped(heading_of(knob, state) - start) > angle - 0.1:
            break
    return state


def drag_plate(plate: str, region: str, state: State) -> Script:
    """Pinch the plate's rim on the side it should go to and drag it to the middle of a region on the table."""
    for _ in range(8):
        way = (state.position(region) - state.position(plate))[:2]
        if float(np.hypot(way[0], way[1])) < 0.015:
            break
        ahead = np.array([*way, 0.0]) / float(np.hypot(way[0], way[1]))
        rotation = downward(nearest_heading(float(np.arctan2(ahead[1], ahead[0])), state))
        rim = state.position(plate) + PLATE_RADIUS * ahead
        rim[2] += PLATE_GRASP
        above = Target(rim + np.array([0.0, 0.0, 0.06]), rotation, OPEN)
        state = yield from reach(above, state, within=0.008, limit=90)
        state = yield from reach(Target(rim, rotation, OPEN, 0.6), state, within=0.004, limit=40)
        for _ in range(10):
            state = yield Target(rim, rotation, CLOSED)
        grip = state.hand - state.position(plate)
        for _ in range(90):
            left = state.position(region) - state.position(plate)
            if float(left[:2] @ ahead[:2]) < 0.005:
                break
            if float(np.linalg.norm((state.hand - state.position(plate) - grip)[:2])) > 0.03:
                break
            drag = np.array([state.hand[0] + left[0], state.hand[1] + left[1], rim[2]])
            state = yield Target(drag, rotation, CLOSED, 0.4)
        state = yield from hold(6, OPEN, state)
        state = yield from rise(float(rim[2]) + 0.08, OPEN, state, limit=25)
    return state


def heading_of(name: str, state: State) -> float:
    """Return the direction of a body's x axis, seen from above [rad]."""
    axis = matrix_from_unit_quaternion(state.objects[name].quaternion)[:, 0]
    return float(np.arctan2(axis[1], axis[0]))


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2.0 * np.pi) - np.pi)
