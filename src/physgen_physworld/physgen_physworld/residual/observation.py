# SPDX-License-Identifier: Apache-2.0
"""What the residual sees, in training and on the robot alike: estimates and the robot's state, nothing privileged.

float32 [OBSERVATION_DIM], lengths in decimetres so that all numbers are of one order.
"""

from __future__ import annotations

import numpy as np

from physgen_control.geometry import matrix_from_quaternion
from physgen_control.types import Float32Array, Pose
from physgen_physworld.plan.base import GoalFollower, Phase
from physgen_physworld.values import square_turn, yaw_of

LOOKAHEAD = 3
"""Goals ahead that the residual sees."""

OBSERVATION_DIM = 3 + 1 + 3 * LOOKAHEAD + 1 + 3 + 1 + 7 + 1 + 1 + len(Phase) + 2
_METRES = 10.0
_MIDDLE = np.array([0.6, 0.0, 0.1])


def observe(
    follower: GoalFollower,
    thing: Pose,
    confidence: float,
    tcp_pose: Pose,
    gripper_width: float,
    base_action: Float32Array,
) -> Float32Array:
    """Return the observation of one control step.

    Args:
        follower: the base policy, after it has decided.
        thing: the estimated object.
        confidence: of the estimate, 0 to 1.
        tcp_pose: of the hand, in the base frame.
        gripper_width: opening between the fingers [m].
        base_action: what the base has decided.
    """
    goals = follower.goals
    ahead = [goals.positions[min(follower.progress + k, len(goals.positions) - 1)] for k in range(LOOKAHEAD)]
    closing = matrix_from_quaternion(tcp_pose.quaternion)[:, 1]
    heading = float(np.arctan2(closing[1], closing[0]))
    yaw = yaw_of(thing.quaternion)
    phase = np.zeros(len(Phase))
    phase[follower.phase] = 1.0
    return np.concatenate(
        [
            _METRES * (thing.position - tcp_pose.position),
            [square_turn(yaw - heading)],
            *(_METRES * (goal - thing.position) for goal in ahead),
            [square_turn(float(goals.yaws[follower.progress]) - yaw)],
            _METRES * (tcp_pose.position - _MIDDLE),
            [_METRES * gripper_width],
            _METRES * base_action[:6],
            base_action[6:7],
            [follower.progress / (len(goals.positions) - 1), confidence],
            phase,
            [float(goals.lifted), float(goals.released)],
        ]
    ).astype(np.float32)
