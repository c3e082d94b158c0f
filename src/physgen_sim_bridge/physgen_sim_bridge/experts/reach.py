# SPDX-License-Identifier: Apache-2.0
"""The expert that moves the TCP to a place."""

from __future__ import annotations

from collections.abc import Mapping

from physgen_control.types import Float32Array, Pose
from physgen_sim_bridge.experts.expert import StateExpert
from physgen_sim_bridge.experts.motion import OPEN, hand_action, upright


class ReachExpert(StateExpert):
    """Moves the TCP straight to the object called goal."""

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        return hand_action(objects["goal"].position - tcp_pose.position, upright(tcp_pose), OPEN)
