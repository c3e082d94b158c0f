# SPDX-License-Identifier: Apache-2.0
"""Physics as the judge of where a video ends: a thing that is let go has to stay there.

A video, or its tracks, may end a little beside or inside what the object shall rest on. The twin lets the object go at
places near the end, and the nearest at which it stays takes the end's place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from physgen_control.types import ACTION_DIM, Float64Array, Pose
from physgen_physworld.plan.goals import Goals, Obstacle
from physgen_physworld.scene.scene import CLEARANCE, Scene
from physgen_physworld.twin.twin import CONTROL_PERIOD, Twin, up_axis
from physgen_physworld.values import yaw_quaternions

NEAR_THING = 0.03
"""An end this near [m] to the height of resting on another thing, and over it, is meant to rest there."""

NEAR_TABLE = 0.012
"""The same of the table: just above it there is air to be held in."""

OVER = 0.75
"""Over a thing is who is less than this share of the larger edge beside its middle."""

INWARD = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the way from the end to the middle of the support that are tried, the nearest first."""

WAIT_S = 0.75
"""The twin waits so long before it looks where the object is."""

SLIPPED, LEANS = 0.008, np.cos(np.radians(15.0))
"""An object has not stayed if it is farther off than this [m], or leans by more."""

AWAY = Pose(position=np.array([0.3, 0.0, 0.5]), quaternion=np.array([1.0, 0.0, 0.0, 0.0]))
"""Where the hand is meanwhile."""


def settled(goals: Goals, scene: Scene) -> Goals:
    """Return goals whose end is a place where the object stays; unchanged where it is to be held, or pushed.

    Args:
        goals: as a video asks for them.
        scene: that it begins in.
    """
    if not goals.lifted:
        return goals
    twin = Twin(scene)
    for place in _places(goals, scene.table_height):
        if _stays(twin, goals, place):
            return _ending_at(goals, place)
    return goals


def _places(goals: Goals, table: float) -> Iterator[Float64Array]:
    """Yield where the object could rest near the end."""
    last, half = goals.positions[-1], goals.size[2] / 2
    for obstacle in goals.obstacles:
        height = obstacle.position[2] + obstacle.size[2] / 2 + half
        if _is_over(goals, obstacle) and abs(height - last[2]) < NEAR_THING:
            inward = obstacle.position[:2] - last[:2]
            for share in INWARD:
                yield np.array([*(last[:2] + share * inward), height])
    if abs(table + half - last[2]) < NEAR_TABLE:
        yield np.array([*last[:2], table + half])


def _is_over(goals: Goals, obstacle: Obstacle) -> bool:
    beside = float(np.linalg.norm((obstacle.position - goals.positions[-1])[:2]))
    return beside < OVER * max(*goals.size[:2], *obstacle.size[:2])


def _stays(twin: Twin, goals: Goals, place: Float64Array) -> bool:
    above = Pose(
        position=place + np.array([0.0, 0.0, CLEARANCE]), quaternion=yaw_quaternions([goals.yaws[-1]])[0]
    )
    others = {
        box.name: Pose(position=box.position, quaternion=yaw_quaternions([box.yaw])[0])
        for box in twin.scene.boxes
        if box.name != goals.name
    }
    twin.place(AWAY, 0.08, others | {goals.name: above}, closing=False)
    still = np.zeros(ACTION_DIM, np.float32)
    still[6] = 1.0
    for _ in range(round(WAIT_S / CONTROL_PERIOD)):
        twin.step(still)
    after = twin.object_pose(goals.name)
    slipped = float(np.linalg.norm(after.position - place))
    return twin.is_finite and slipped < SLIPPED and float(up_axis(after)[2]) > LEANS


def _ending_at(goals: Goals, place: Float64Array) -> Goals:
    """Return the goals bent so that they end at a place: more and more towards the end."""
    steps = np.linalg.norm(np.diff(goals.positions, axis=0), axis=1)
    share = np.concatenate([[0.0], np.cumsum(steps)]) / max(float(steps.sum()), 1e-9)
    bent = goals.positions + (share**2)[:, None] * (place - goals.positions[-1])
    return replace(goals, positions=bent, released=True)
