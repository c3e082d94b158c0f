# SPDX-License-Identifier: Apache-2.0
"""The controller's core with a planner: a trajectory for each accepted chunk, none in shadow."""

from __future__ import annotations

import numpy as np
from controller_rig import PERIOD_NS, Rig, make_actions
from planner_rig import (
    REST,
    at,
    config,
    state,
)

from physgen_control.controller_config import ArmInterface, Mode, RobotType
from physgen_control.motion.kinematics import HOME
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S, AckResult, Fault, SafetyState, Source


def test_the_core_sends_one_trajectory_per_chunk_and_stops_when_the_arm_does_not_follow() -> None:
    cfg = config()
    rig = Rig(
        planner=TrajectoryPlanner(cfg), arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3
    )
    rig.core.on_publisher_count(1)
    rig.core.on_state(state(), rig.now_ns)
    assert rig.core.arm()[0]
    ack = rig.send(episode_id="", data=make_actions(size=0.003))
    assert (
        ack.result == AckResult.NOT_ARMED and "settles" in ack.detail
    )  # its controller may hold another pose
    settling = rig.core.take_trajectory()
    np.testing.assert_array_equal(settling.positions, HOME[None])
    rig.now_ns += round(settling.times[-1] * NS_PER_S)
    rig.core.on_state(state(stamp_ns=rig.now_ns), rig.now_ns)
    ack = rig.send(episode_id="", data=make_actions(size=0.003))
    assert ack.result == AckResult.ACCEPTED, ack.detail
    first = rig.core.take_trajectory()
    assert first is not None and rig.core.take_trajectory() is None
    for index in range(8):
        rig.now_ns += PERIOD_NS
        planned = at(first, REST, (index + 1) * PERIOD_NS / NS_PER_S)[0]
        rig.core.on_state(state(planned, rig.now_ns), rig.now_ns)
        action = rig.tick()
        assert action is not None and action.source == Source.POLICY
        assert np.all(np.isfinite(action.target_positions))
    for away in (0.14, 0.28):  # no faster than a joint can be
        rig.now_ns += PERIOD_NS
        rig.core.on_state(state(HOME + away, rig.now_ns), rig.now_ns)
        held = rig.tick()
    assert held is not None and held.source == Source.HOLD
    assert rig.core.status.faults & Fault.TRACKING
    assert rig.core.state == SafetyState.HOLD


def test_shadow_sends_no_trajectory() -> None:
    rig = Rig(
        planner=TrajectoryPlanner(config()),
        arm_interface=ArmInterface.JOINT_TRAJECTORY,
        robot_type=RobotType.FR3,
        mode=Mode.SHADOW,
    )
    rig.core.on_publisher_count(1)
    rig.core.on_state(state(), rig.now_ns)
    assert rig.core.arm()[0]
    assert rig.send(episode_id="", data=make_actions(size=0.003)).result == AckResult.SHADOW
    assert rig.core.take_trajectory() is None
