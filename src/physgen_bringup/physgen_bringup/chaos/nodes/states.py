# SPDX-License-Identifier: Apache-2.0
"""Robot states that no arm sent: what was measured last, changed, published on the driver's topics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from physgen_bringup.chaos.nodes.probe import ChaosProbe
from physgen_control.motion.kinematics import forward
from physgen_control.nodes.conversions import robot_state_from_msgs, robot_state_to_msgs
from physgen_control.types import Pose, RobotState


def measured(probe: ChaosProbe) -> RobotState:
    """Return the state measured last."""
    return robot_state_from_msgs(probe.joints, probe.pose)


def send_state(
    probe: ChaosProbe,
    *,
    joints: dict[int, float] | None = None,
    shift: Any = None,
    stamp_ns: int | None = None,
) -> None:
    """Publish a state with other joints [rad by index], a pose moved by `shift` [m], another stamp.

    The pose belongs to the joints unless it is moved.
    """
    state = measured(probe)
    positions = state.positions.copy()
    for index, value in (joints or {}).items():
        positions[index] = value
    finite = np.all(np.isfinite(positions))
    pose = forward(positions) if joints and finite else state.tcp_pose
    if shift is not None:
        pose = Pose(position=pose.position + np.asarray(shift), quaternion=pose.quaternion)
    stamp = probe.now_ns if stamp_ns is None else stamp_ns
    probe.injected.add(stamp)
    messages = robot_state_to_msgs(
        replace(state, stamp_ns=stamp, positions=positions, tcp_pose=pose),
        joint_prefix="fr3",
        frame_id="base",
    )
    for _ in range(2):  # a message of the driver that comes between the two takes a pair apart
        probe.pose_out.publish(messages[1])
        probe.joints_out.publish(messages[0])
