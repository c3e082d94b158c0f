# SPDX-License-Identifier: Apache-2.0
"""Scripted experts for LIBERO: canonical actions from object poses and the measured hand, for demonstrations.

Scripts watch what they do: an object that was not grasped, or was lost on the way, is taken again. Pure NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Pose
from physgen_sim_bridge.libero.fixtures import (
    Drawer,
    close_drawer,
    drag_plate,
    heading_of,
    open_drawer,
    turn_knob,
)
from physgen_sim_bridge.libero.motion import OPEN, Script, State, Target, action_towards, reach
from physgen_sim_bridge.libero.pick_place import Place, pick_and_place
from physgen_sim_bridge.libero.tasks import libero_tasks

BOWL = "akita_black_bowl_1"
IN_BASKET = Place(on="basket_1_contain_region", offset=(0.0, 0.0, 0.04), travel=0.14, hand=0.0, fine=0.02)
ON_PLATE = Place(on="plate_1", offset=(0.0, 0.0, 0.012), travel=0.10)
ON_CABINET = (0.0, -0.016, 0.225)
"""The middle of the cabinet's top from its origin, in libero_goal [m]."""


def _drawer_then_bowl(state: State) -> Script:
    """Open the top drawer just enough that it does not roof the bowl, then put the bowl into its front."""
    state = yield from open_drawer(Drawer(cabinet="wooden_cabinet_1", level="top"), 0.115, state)
    place = Place(
        on="wooden_cabinet_1_cabinet_top",
        offset=(0.0, 0.012, 0.165),
        travel=0.09,
        hand=0.30,
        angles=(0.0, np.pi),
    )
    return (yield from pick_and_place(BOWL, place, state))


def _bowl_from_drawer(state: State) -> Script:
    """Pinch the rim along the drawer's long side, where the fingers have room, and lift it over the drawer's walls."""
    along = heading_of("wooden_cabinet_1_cabinet_top", state)
    place = replace(ON_PLATE, travel=0.25, angles=(along, along + np.pi), inset=0.014)
    return (yield from pick_and_place(BOWL, place, state))


SPATIAL: dict[int, Callable[[State], Script]] = {4: _bowl_from_drawer}

GOAL: dict[int, Callable[[State], Script]] = {
    0: lambda state: open_drawer(Drawer(cabinet="wooden_cabinet_1", level="middle"), 0.15, state),
    1: lambda state: pick_and_place(
        BOWL, Place(on="flat_stove_1_cook_region", offset=(0.0, 0.0, 0.026)), state
    ),
    2: lambda state: pick_and_place(
        "wine_bottle_1", Place(on="wooden_cabinet_1", offset=ON_CABINET, travel=0.04), state
    ),
    3: _drawer_then_bowl,
    4: lambda state: pick_and_place(
        BOWL, Place(on="wooden_cabinet_1", offset=ON_CABINET, travel=0.06), state
    ),
    5: lambda state: drag_plate("plate_1", "main_table_stove_front_region", state),
    6: lambda state: pick_and_place("cream_cheese_1", Place(on=BOWL, offset=(0.0, 0.0, 0.04)), state),
    7: lambda state: turn_knob("flat_stove_1", 0.8, state),
    8: lambda state: pick_and_place(BOWL, ON_PLATE, state),
}


def _both(first: tuple[str, Place], second: tuple[str, Place], state: State) -> Script:
    """Carry one object after the other; the hand leaves the first place level, as a basket's wall may stand there."""
    state = yield from pick_and_place(*first, state)
    over = np.array([*state.position(second[0])[:2], state.hand[2]])
    state = yield from reach(Target(over, state.rotation.copy(), OPEN), state, within=0.04)
    return (yield from pick_and_place(*second, state))


def _cans_in_basket(first: str, second: str, state: State) -> Script:
    """Put two cans side by side into a basket, so that the second does not come to lie on the first."""
    one, other = (replace(IN_BASKET, offset=(x, 0.0, 0.04)) for x in (-0.03, 0.03))
    return (yield from _both((first, one), (second, other), state))


def _flat_first_in_basket(flat: str, second: str, state: State) -> Script:
    """Put a flat box into a basket first: it fills the floor, and what comes second lies on it."""
    return (yield from _both((flat, IN_BASKET), (second, IN_BASKET), state))


def _bowl_into_bottom_drawer(state: State) -> Script:
    """Put the bowl into the drawer, which is open, then push it shut."""
    place = Place(
        on="white_cabinet_1_bottom_region", offset=(0.0, -0.02, 0.0), travel=0.16, angles=(0.0, np.pi)
    )
    state = yield from pick_and_place(BOWL, place, state)
    return (yield from close_drawer(Drawer(cabinet="white_cabinet_1", level="bottom"), state))


LONG: dict[int, Callable[[State], Script]] = {
    0: lambda state: _cans_in_basket("alphabet_soup_1", "tomato_sauce_1", state),
    1: lambda state: _flat_first_in_basket("cream_cheese_1", "butter_1", state),
    3: _bowl_into_bottom_drawer,
    4: lambda state: _both(
        ("porcelain_mug_1", ON_PLATE), ("white_yellow_mug_1", replace(ON_PLATE, on="plate_2")), state
    ),
    6: lambda state: _both(
        ("porcelain_mug_1", ON_PLATE),
        ("chocolate_pudding_1", Place(on="living_room_table_plate_right_region", offset=(0.0, 0.0, 0.03))),
        state,
    ),
    7: lambda state: _flat_first_in_basket("cream_cheese_1", "alphabet_soup_1", state),
}


class ScriptExpert:
    """Runs a script step by step; when it has ended the hand stays where it is, open.

    Args:
        script: Begins the script from the first state.
    """

    def __init__(self, script: Callable[[State], Script]) -> None:
        self._make = script
        self._script: Script | None = None
        self._target: Target | None = None

    def reset(self) -> None:
        """Start an episode."""
        self._script, self._target = None, None

    def act(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the clean canonical action, as Expert.act."""
        state = State.of(objects, tcp_pose, gripper_width)
        try:
            if self._target is None:
                self._script = self._make(state)
                self._target = next(self._script)
            elif self._script is not None:
                self._target = self._script.send(state)
        except StopIteration:
            self._script = None
            self._target = Target(state.hand.copy(), state.rotation.copy(), OPEN)
        return action_towards(self._target, state)


def make_libero_expert(task_id: str) -> ScriptExpert:
    """Return the expert of a task.

    Raises:
        UserError: There is none.
    """
    task = libero_tasks()[task_id]
    match task.suite:
        case "libero_object":
            name = task.name.removeprefix("pick_up_the_").removesuffix("_and_place_it_in_the_basket")
            return ScriptExpert(lambda state: pick_and_place(f"{name}_1", IN_BASKET, state))
        case "libero_spatial":
            return ScriptExpert(SPATIAL.get(task.index, lambda state: pick_and_place(BOWL, ON_PLATE, state)))
        case "libero_goal" if task.index in GOAL:
            return ScriptExpert(GOAL[task.index])
        case "libero_10" if task.index in LONG:
            return ScriptExpert(LONG[task.index])
    raise UserError(f"There is no scripted expert for {task_id}.")
