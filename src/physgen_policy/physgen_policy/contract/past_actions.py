# SPDX-License-Identifier: Apache-2.0
"""The past actions of an observation: eight rows, filled up with rest where fewer were applied."""

from __future__ import annotations

import numpy as np

from physgen_control.types import ACTION_DIM, HORIZON, AppliedAction, Float32Array


def idle_actions(gripper: np.float32) -> Float32Array:
    """Return eight actions without motion that keep the gripper command, float32 [8, 7]."""
    actions = np.zeros((HORIZON, ACTION_DIM), np.float32)
    actions[:, -1] = gripper
    return actions


def pack_actions(actions: list[AppliedAction]) -> Float32Array:
    """Return the last eight applied actions, float32 [8, 7]; fewer are followed by rest with the last gripper."""
    recent = actions[-HORIZON:]
    packed = idle_actions(np.float32(recent[-1].applied[-1]) if recent else np.float32(1.0))
    for row, action in enumerate(recent):
        packed[row] = action.applied
    return packed
