# SPDX-License-Identifier: Apache-2.0
"""A human and a policy on one arm: how soon the human is obeyed, how soon the arm rests, and what the joints feel."""

from __future__ import annotations

from typing import Any

import numpy as np
from controller_rig import PERIOD_NS, START_NS, Rig, make_actions, make_config, make_state
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physgen_control.controller_config import ArmInterface, RobotType
from physgen_control.motion.joint_path import JointTrajectory, quintic, with_start
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S, AckResult, AppliedAction, Float64Array, Limit, Source

MS_NS = 1_000_000
twists = arrays(np.float64, 6, elements=st.floats(-0.3, 0.3))


class Arm:
    """An arm that follows its trajectories exactly, and a controller that ticks every period; both at 1 kHz."""

    def __init__(self, joints: Float64Array = HOME, **changes: Any) -> None:
        config: dict[str, Any] = {
            "arm_interface": ArmInterface.JOINT_TRAJECTORY,
            "robot_type": RobotType.FR3,
        } | changes
        self.planner = TrajectoryPlanner(make_config(**config))
        self.rig = Rig(planner=self.planner, **config)
        self.actions: list[AppliedAction] = []
        self.joints = joints.copy()
        self.command = (joints.copy(), np.zeros(7), np.zeros(7))
        self.trajectory: JointTrajectory | None = None
        self.start = self.command
        self.worst = np.zeros(3)  # speed, acceleration, jerk as shares of their limits
        self.furthest = 0.0  # way within a millisecond, as a share of what the speed limit allows
        self.rig.core.on_publisher_count(1)
        self.observe()
        assert self.rig.core.arm()[0]
        self.run(500)  # settled

    @property
    def now_ns(self) -> int:
        return self.rig.now_ns

    def observe(self) -> None:
        state = make_state(self.now_ns, forward(self.joints), positions=self.joints.copy())
        self.rig.core.on_state(state, self.now_ns)

    def take(self) -> None:
        taken = self.rig.core.take_trajectory()
        if taken is not None:
            self.trajectory, self.start = taken, self.command

    def run(self, milliseconds: int) -> None:
        """Let time pass, from one control period to the next."""
        self.take()
        end_ns = self.now_ns + milliseconds * MS_NS
        while self.now_ns < end_ns:
            tick_ns = START_NS + ((self.now_ns - START_NS) // PERIOD_NS + 1) * PERIOD_NS
            self._move(min(tick_ns, end_ns))
            self.observe()
            if self.now_ns == tick_ns:
                action = self.rig.tick()
                if action is not None:
                    self.actions.append(action)
            self.take()

    def _move(self, until_ns: int) -> None:
        now_ns, self.rig.now_ns = self.now_ns, until_ns
        if self.trajectory is None:
            return
        times, knots = with_start(self.trajectory, self.start)
        at = (np.arange(now_ns + MS_NS, until_ns + 1, MS_NS) - self.trajectory.start_ns) / NS_PER_S
        position, velocity, acceleration, jerk = quintic(times, knots, at)
        limits = self.planner.limits
        ways = np.abs(np.diff(np.vstack([self.joints, position]), axis=0))
        self.furthest = max(self.furthest, float(np.max(ways / (limits.velocity * 1e-3))))
        self.joints, self.command = position[-1], (position[-1], velocity[-1], acceleration[-1])
        pairs = ((velocity, limits.velocity), (acceleration, limits.acceleration), (jerk, limits.jerk))
        self.worst = np.maximum(self.worst, [np.max(np.abs(values) / limit) for values, limit in pairs])

    def send(self, sequence: int) -> AckResult:
        return self.rig.send(episode_id="", chunk_seq=sequence, data=make_actions(size=0.003)).result

    def twist(self, twist: Float64Array) -> None:
        self.rig.core.on_deadman(True, self.now_ns)
        self.rig.core.on_teleop(twist, 0.0, self.now_ns)

    @property
    def resting(self) -> bool:
        return float(np.max(np.abs(self.command[1:]))) < 1e-6  # rounding of an interpolated end


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 350), twists, st.integers(1, 12), st.integers(1, 100))
def test_a_human_is_obeyed_within_a_period_and_the_arm_rests_within_the_smoothing_windows(
    takeover_ms: int, twist: Float64Array, messages: int, last_ms: int
) -> None:
    """At any moment of a policy's chunk, for any twist; every joint limit holds at 1 kHz over both seams."""
    arm = Arm()
    assert arm.send(1) == AckResult.ACCEPTED
    arm.run(takeover_ms)
    before, heard_ns = len(arm.actions), arm.now_ns
    for index in range(messages):
        arm.twist(twist)
        arm.run(25 if index + 1 < messages else last_ms)
    human = [action for action in arm.actions[before:] if action.source == Source.TELEOP]
    assert arm.actions[before:] == human  # nothing of the policy after the first twist
    if arm.now_ns - heard_ns >= PERIOD_NS:
        assert human and human[0].stamp_ns - heard_ns <= PERIOD_NS
    assert arm.send(2) == AckResult.TELEOP_ACTIVE

    released_ns = arm.now_ns
    arm.rig.core.on_deadman(False, arm.now_ns)
    arm.take()
    windows = arm.rig.config.smoothing_time + arm.rig.config.smoothing_time_jerk
    arm.run(round(windows * 1000) + 1)
    assert arm.resting, f"moving {(arm.now_ns - released_ns) / 1e9:.3f} s after the release"
    assert arm.send(3) == AckResult.TELEOP_ACTIVE  # a policy must look again first
    arm.run(300)
    assert arm.send(4) == AckResult.ACCEPTED
    arm.run(500)
    assert arm.actions[-8].source in (Source.POLICY, Source.HOLD)
    assert np.all(arm.worst <= 1 + 1e-5), arm.worst
    assert arm.furthest <= 1 + 1e-5


def test_a_motion_that_cannot_be_planned_leaves_the_human_the_fingers() -> None:
    """A stretched arm refuses to stretch farther; the gripper button still counts."""
    stretched = np.array([0.0, 0.8, 0.0, -0.55, 0.0, 2.2, 0.785])
    arm = Arm(stretched, workspace_max=(2.0, 2.0, 2.0))
    count = len(arm.actions)
    for _ in range(20):  # outwards, until the elbow is straight
        arm.rig.core.on_deadman(True, arm.now_ns)
        arm.rig.core.on_teleop(np.array([0.25, 0.0, 0.25, 0.0, 0.0, 0.0]), -1.0, arm.now_ns)
        arm.run(50)
    impossible = Limit.JOINT | Limit.SINGULARITY
    refused = [a for a in arm.actions[count:] if a.limits & impossible and not a.applied[:6].any()]
    assert all(action.source == Source.TELEOP for action in arm.actions[count:])
    assert refused and refused[-1].applied[6] == -1.0
