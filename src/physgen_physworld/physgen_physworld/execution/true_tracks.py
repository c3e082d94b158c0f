# SPDX-License-Identifier: Apache-2.0
"""Tracks as a perfect tracker would find them: the simulator's own poses of the things that an instruction names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from physgen_control.types import Float64Array
from physgen_physworld.values import ObjectTrack, Thing, Tracks

# The instruction's names of things and the simulator's.
NAMES = {
    "PushCube-v1": {"cube": "cube"},
    "PickCube-v1": {"cube": "cube"},
    "StackCube-v1": {"red_cube": "cubeA", "green_cube": "cubeB"},
}


def true_tracks(
    task: str,
    things: Sequence[Thing],
    truth: Mapping[str, tuple[Float64Array, Float64Array]],
    period_s: float,
) -> Tracks:
    """Return the true tracks of things.

    Args:
        task: whose simulator's names they have.
        things: of the instruction.
        truth: positions [T, 3] and quaternions [T, 4] by the simulator's names.
        period_s: from one pose to the next [s].
    """
    objects = []
    for thing in things:
        positions, quaternions = truth[NAMES[task][thing.name]]
        objects.append(
            ObjectTrack(
                name=thing.name,
                size=thing.size,
                positions=positions,
                quaternions=quaternions,
                confidence=np.ones(len(positions)),
            )
        )
    return Tracks(objects=tuple(objects), period_s=period_s, source="the simulator's truth")
