# SPDX-License-Identifier: Apache-2.0
"""What a hand feels: whether it has closed on the object, and where the object then is while it is carried."""

from __future__ import annotations

import numpy as np

from physgen_control.geometry import conjugate, matrix_from_quaternion, quaternion_product
from physgen_control.types import Float64Array, Pose

NEAR = 0.035
"""A hand this near [m] that has closed to the object's width has closed on the object."""

CLEARLY_OPEN = 0.012
"""Fingers this much [m] farther apart than the object is wide hold nothing."""


class InHand:
    """Follows one grasp after another of one object; one episode."""

    def __init__(self, size: tuple[float, float, float]) -> None:
        self._width = max(size[:2])
        self._held: tuple[Float64Array, Float64Array] | None = None

    def update(self, thing: Pose, hand: Pose, gripper_width: float, *, closing: bool) -> Pose | None:
        """Return where the carried object is, or None while nothing is held.

        Args:
            thing: where the object is thought to be.
            hand: pose of the TCP.
            gripper_width: opening between the fingers [m].
            closing: the gripper was told to close.
        """
        if self._held is None:
            near = float(np.linalg.norm(hand.position - thing.position)) < NEAR
            if closing and near and 0.5 * self._width < gripper_width < self._width + 0.006:
                self._held = _grasped(hand, thing)
        elif gripper_width < 0.5 * self._width:
            self._held = None  # slipped out
        elif not closing and gripper_width > self._width + CLEARLY_OPEN:
            self._held = None
        return None if self._held is None else _carried(hand, *self._held)


def _grasped(hand: Pose, thing: Pose) -> tuple[Float64Array, Float64Array]:
    """The object in the hand's frame; two fingers that close centre it between them."""
    offset = matrix_from_quaternion(hand.quaternion).T @ (thing.position - hand.position)
    offset[1] = 0.0
    return offset, quaternion_product(conjugate(hand.quaternion), thing.quaternion)


def _carried(hand: Pose, offset: Float64Array, turn: Float64Array) -> Pose:
    return Pose(
        position=hand.position + matrix_from_quaternion(hand.quaternion) @ offset,
        quaternion=quaternion_product(hand.quaternion, turn),
    )
