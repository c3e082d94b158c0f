# SPDX-License-Identifier: Apache-2.0
"""The script behind most of LIBERO: take an object from above, carry it, put it down; again if it was lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float64Array
from physgen_sim_bridge.libero.grasps import Grasp, grasp_of
from physgen_sim_bridge.libero.motion import (
    CLOSED,
    OPEN,
    Script,
    State,
    Target,
    angle_between,
    hold,
    reach,
    rise,
)

CLEARANCE = 0.05
"""Air between the finger tips and an object's top while moving over it [m]."""

LOST = 0.035
"""An object that moved this far from where the fingers closed on it has slipped [m]."""

MAX_ATTEMPTS = 6
CLOSE_STEPS = 12
OPEN_STEPS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an object goes."""

    on: str
    """The object or region that it is put on."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """From there to where the object's origin should be let go [m], base frame's axes."""
    travel: float = 0.10
    """Height of the object's origin above that while it is carried [m]."""
    hand: float = 0.0
    """Least height of the hand meanwhile [m], base frame."""
    angles: tuple[float, ...] = (np.pi / 2, -np.pi / 2, np.pi, 0.0)
    """Where to close the fingers on a round vessel's rim, tried in turn [rad]."""
    inset: float = 0.0
    """Come down this far inside that rim [m], where the outer finger has no room."""
    fine: float = 0.008
    """Sideways error at which it may go down [m]."""

    def goal(self, state: State) -> Float64Array:
        """Return where the object's origin should be let go, [3] in m, base frame."""
        return state.position(self.on) + np.array(self.offset)


def pick_and_place(name: str, place: Place, state: State) -> Script:
    """Take an object and put it where it goes; ends when it lies there or after MAX_ATTEMPTS."""
    for attempt in range(MAX_ATTEMPTS):
        state = yield from pick(name, place, attempt, state)
        if not held(name, state):
            state = yield from let_go(state)
            continue
        state = yield from carry(name, place, state)
        arrived = float(np.linalg.norm((place.goal(state) - state.position(name))[:2])) < 0.04
        state = yield from let_go(state)
        if arrived:
            break
    return state


def pick(name: str, place: Place, attempt: int, state: State) -> Script:
    """Open, move over the object, come down, close, and lift it a little."""
    grasp = grasp_of(name, state, attempt, place.angles)
    over = max(grasp.top + CLEARANCE, grasp.position[2] + 0.04)
    if state.hand[2] < over - 0.03:
        state = yield from rise(over, OPEN, state)
    for _ in range(80):
        down = grasp.position + place.inset * grasp.inward
        hover = np.array([down[0], down[1], over])
        # A hand that comes down beside its place touches the neighbours.
        if _reached(hover, grasp, state, sideways=0.005, height=0.02):
            break
        state = yield Target(hover, grasp.rotation, OPEN)
        grasp = _follow(grasp, grasp_of(name, state, attempt, place.angles))
    for _ in range(50):
        down = grasp.position + place.inset * grasp.inward
        if _reached(down, grasp, state, sideways=0.006, height=0.004):
            break
        state = yield Target(down, grasp.rotation, OPEN, 0.6)
    closing = Target(grasp.position, grasp.rotation, CLOSED)
    for _ in range(CLOSE_STEPS):
        state = yield closing
    lifted = Target(grasp.position + np.array([0.0, 0.0, 0.05]), grasp.rotation, CLOSED, 0.8)
    return (yield from reach(lifted, state, within=0.02, limit=25))


def carry(name: str, place: Place, state: State) -> Script:
    """Lift the held object, move it over its place, and lower it; ends early when it is lost."""
    rotation = state.rotation.copy()
    grip = state.hand - state.position(name)
    height = max(place.goal(state)[2] + place.travel, state.position(name)[2])
    height = max(height, place.hand - grip[2])
    for phase in ("lift", "over", "lower"):
        for _ in range(110):
            there = place.goal(state)
            here = state.position(name)
            want = there
            if phase != "lower":
                want = np.array([*(there if phase == "over" else here)[:2], height])
            error = want - here
            if phase == "lift" and error[2] < 0.02:
                break
            if phase == "over" and float(np.hypot(error[0], error[1])) < place.fine:
                break
            if phase == "lower" and error[2] > -0.006:
                break
            state = yield Target(state.hand + error, rotation, CLOSED, 0.5 if phase == "lower" else 1.0)
            if float(np.linalg.norm(state.hand - state.position(name) - grip)) > LOST:
                return state
    return state


def let_go(state: State) -> Script:
    """Open the fingers, then go up."""
    state = yield from hold(OPEN_STEPS, OPEN, state)
    return (yield from rise(float(state.hand[2]) + 0.10, OPEN, state, limit=25))


def held(name: str, state: State) -> bool:
    """Return whether the fingers hold the object: near it and not closed completely."""
    near = float(np.linalg.norm((state.hand - state.position(name))[:2])) < 0.09
    return near and state.width > 0.003


def _reached(position: Float64Array, grasp: Grasp, state: State, *, sideways: float, height: float) -> bool:
    away = position - state.hand
    near = float(np.hypot(away[0], away[1])) < sideways and abs(float(away[2])) < height
    return near and angle_between(grasp.rotation, state.rotation) < 0.08


def _follow(chosen: Grasp, now: Grasp) -> Grasp:
    """Return the new grasp with the rotation of the chosen one: the object may have been pushed meanwhile."""
    return Grasp(now.position, chosen.rotation, now.top, now.inward)
