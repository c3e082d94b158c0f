# SPDX-License-Identifier: Apache-2.0
"""Something happens in the middle of an episode: a thing is moved or slips, the camera is bumped, the light changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array, Pose, UInt8Image
from physgen_sim_bridge.world import BY_SEED, Observation, World

KINDS = ("object_moved", "object_slipped", "camera_bumped", "light_changed")
MOVED_M = 0.05
"""How far a thing is moved on the table."""
BUMPED_PX = 5
"""How far the fixed camera's picture jumps."""
DIMMED = 0.7
"""What is left of the light."""
HELD_ABOVE_M = 0.03
"""A thing that was lifted by so much since the start is held, and can slip."""


@runtime_checkable
class DisplacingWorld(Protocol):
    """A world that can put a thing elsewhere in the middle of an episode."""

    def displace(self, name: str, by: Float64Array) -> None:
        """Move one of its objects by a vector [3] in m, base frame, at once; it is at rest afterwards."""


def displace(world: World, name: str, by: Float64Array) -> None:
    """Move an object of a world by a vector [3] in m.

    Raises:
        UserError: The world cannot do it.
    """
    if not isinstance(world, DisplacingWorld):
        raise UserError(f"{world.spec.name} cannot move an object in the middle of an episode; maniskill can")
    world.displace(name, by)


def possible_kinds(world: World) -> tuple[str, ...]:
    """Return the kinds of events that can happen in a world."""
    moves = isinstance(world, DisplacingWorld)
    return tuple(kind for kind in KINDS if moves or not kind.startswith("object"))


@dataclass(frozen=True, slots=True)
class Event:
    """What happens, and when."""

    kind: str
    """One of KINDS."""
    step: int
    """It happens before this control step of the episode."""


class EventWorld(World):
    """A world in which an event happens in every episode; see World.

    Directions follow from the episode's seed. What is moved is the first of the world's objects. An object that is not
    held when it should slip stays where it is: `happened` tells.
    """

    def __init__(self, world: World, event: Event) -> None:
        if event.kind not in KINDS:
            raise UserError(f"an event is one of {', '.join(KINDS)}, got {event.kind!r}")
        self._world, self._event = world, event
        self.spec = world.spec
        self.happened = False
        self._step = 0
        self._direction = np.zeros(2)
        self._start: dict[str, Pose] = {}
        self._now: dict[str, Pose] = {}

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode in which nothing has happened yet."""
        self.happened, self._step = False, 0
        angle = np.random.default_rng((seed, KINDS.index(self._event.kind))).uniform(0.0, 2.0 * np.pi)
        self._direction = np.array([np.cos(angle), np.sin(angle)])
        seen = self._world.reset(seed, init_state)
        self._start = self._now = dict(seen.objects)
        return seen

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Step the world; the event comes before its step."""
        if self._step == self._event.step:
            self._happen()
        self._step += 1
        seen = self._world.step(action, render=render)
        self._now = dict(seen.objects)
        return self._seen(seen) if render and self.happened else seen

    def close(self) -> None:
        """Free the world that is wrapped."""
        self._world.close()

    def _happen(self) -> None:
        self.happened = True
        if not self._event.kind.startswith("object"):
            return
        name = next(iter(self._now))
        lifted = float(self._now[name].position[2] - self._start[name].position[2])
        if self._event.kind == "object_moved":
            displace(self._world, name, np.array([*(MOVED_M * self._direction), 0.0]))
        elif lifted > HELD_ABOVE_M:
            displace(self._world, name, np.array([0.0, 0.0, -lifted]))
        else:
            self.happened = False

    def _seen(self, seen: Observation) -> Observation:
        if self._event.kind == "camera_bumped":
            down, right = np.round(BUMPED_PX * self._direction).astype(int)
            return replace(seen, rgb_fixed=_shifted(seen.rgb_fixed, int(down), int(right)))
        if self._event.kind == "light_changed":
            return replace(seen, rgb_fixed=_dimmed(seen.rgb_fixed), rgb_wrist=_dimmed(seen.rgb_wrist))
        return seen


def _shifted(view: UInt8Image, down: int, right: int) -> UInt8Image:
    """Move a picture, uint8 [y, x, 3], whose border is continued."""
    height, width = view.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return np.ascontiguousarray(view[rows][:, columns])


def _dimmed(view: UInt8Image) -> UInt8Image:
    return np.round(view * DIMMED).astype(np.uint8)
