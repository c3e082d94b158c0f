# SPDX-License-Identifier: Apache-2.0
"""Limits and timeouts at their very edge: what is just allowed passes, the next number up does not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from controller_rig import (
    DOWN,
    PERIOD_NS,
    POSE,
    S_NS,
    Rig,
    make_chunk,
    make_config,
    make_episode,
    make_state,
)

from physgen_control.controller.gate import check_shape
from physgen_control.controller.gripper import CLOSED, OPEN, GripperAdapter, GripperSwitch
from physgen_control.controller_config import ArmInterface, Mode, Pacing, RobotType
from physgen_control.motion.commanded_motion import excess
from physgen_control.motion.joint_path import JointTrajectory, RawPath, quintic, sample_quintic
from physgen_control.motion.kinematics import HOME, forward, joint_limits
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import AckResult, Fault, Pose, SafetyState

ARM: dict[str, Any] = {"arm_interface": ArmInterface.JOINT_TRAJECTORY, "robot_type": RobotType.FR3}


def arm_rig(**changes: Any) -> Rig:
    """An FR3 at rest at home, armed and settled."""
    rig = Rig(planner=TrajectoryPlanner(make_config(**ARM, **changes)), **ARM, **changes).begin()
    for _ in range(12):
        rig.step()
    rig.core.take_trajectory()
    return rig


# --- watchdogs ----------------------------------------------------------------------------------------------------


def test_a_policy_is_late_after_policy_timeout_and_not_before() -> None:
    rig = Rig(pacing=Pacing.STATE, policy_timeout=1.0).begin()
    rig.core.on_wall(5)
    rig.core.on_wall(5 + S_NS)
    assert not rig.core.status.faults
    rig.core.on_wall(6 + S_NS)
    assert rig.core.status.faults == Fault.POLICY_LATE
    assert "No valid chunk for 1 s" in rig.core.status.detail


def test_a_robot_is_silent_after_policy_timeout_and_not_before() -> None:
    rig = Rig(policy_timeout=1.0, require_publisher=False)
    rig.core.on_publisher_count(0)
    rig.observe()
    assert rig.core.arm()[0]
    rig.core.on_episode(make_episode())
    rig.core.on_wall(5)
    rig.core.on_wall(5 + S_NS)
    assert not rig.core.status.faults
    rig.core.on_wall(6 + S_NS)
    assert rig.core.status.faults == Fault.STATE_STALE
    assert "No robot state for 1 s" in rig.core.status.detail


@pytest.mark.parametrize("how", ["a state comes", "no episode", "disarmed", "a world that waits"])
def test_a_robots_silence_matters_only_while_it_owes_a_state(how: str) -> None:
    pacing = Pacing.STATE if how == "a world that waits" else Pacing.TIMER
    rig = Rig(policy_timeout=1.0, require_publisher=False, pacing=pacing)
    rig.core.on_publisher_count(0)
    rig.observe()
    assert rig.core.arm()[0]
    if how != "no episode":
        rig.core.on_episode(make_episode())
    if how == "disarmed":
        rig.core.disarm()
    for wall_ns in range(0, 5 * S_NS, S_NS // 2):
        rig.core.on_wall(wall_ns)
        if how == "a state comes":
            rig.now_ns += S_NS // 2
            rig.observe()
    assert not rig.core.status.faults & Fault.STATE_STALE


def test_a_force_at_the_limit_is_allowed_and_the_next_larger_one_is_not() -> None:
    limits = {"max_force": 20.0, "max_torque": 4.0}
    for force, torque, faults in (
        (20.0, 4.0, Fault.NONE),
        (np.nextafter(20.0, 21.0), 4.0, Fault.WRENCH),
        (20.0, np.nextafter(4.0, 5.0), Fault.WRENCH),
        (float("nan"), 0.0, Fault.WRENCH),
    ):
        rig = arm_rig(**limits)
        rig.core.on_wrench(force, torque)
        assert rig.core.status.faults & Fault.WRENCH == faults


def test_only_a_policy_that_is_expected_can_be_late() -> None:
    """A human moves the arm, a chunk plays, or the controller is disarmed: nobody waits for the policy."""
    human = Rig(policy_timeout=1.0).begin()
    playing = Rig(policy_timeout=1.0).begin()
    disarmed = Rig(policy_timeout=1.0).begin()
    disarmed.core.disarm()
    for step in range(60):
        human.core.on_deadman(True, human.now_ns)
        human.core.on_teleop(np.zeros(6), 0.0, human.now_ns)
        if step % 8 == 0:
            assert playing.send(chunk_seq=step + 1, base_step=step).result == AckResult.ACCEPTED
        for rig in (human, playing, disarmed):
            rig.core.on_wall(step * PERIOD_NS)
            rig.step()
    for rig in (human, playing, disarmed):
        assert not rig.core.status.faults & Fault.POLICY_LATE


# --- fingers ------------------------------------------------------------------------------------------------------


def test_a_first_number_within_the_dead_band_is_no_command() -> None:
    config = make_config()
    band = config.gripper_hysteresis
    for value in (band, -band, 0.0):
        switch = GripperSwitch(config)
        assert switch.decide(value, 0.08, 0).command == OPEN and not switch.commanded
    beyond = GripperSwitch(config)
    assert beyond.decide(np.nextafter(-band, -1.0), 0.08, 0).command == CLOSED and beyond.commanded


def test_a_goal_waits_for_exactly_the_minimum_interval() -> None:
    config = make_config(gripper_min_interval=0.5)
    interval_ns = S_NS // 2
    adapter = GripperAdapter(config)
    assert adapter.goal(-1.0, 0) is not None
    adapter.finished(ok=True)
    assert adapter.goal(1.0, interval_ns - 1) is None
    assert adapter.goal(1.0, interval_ns) is not None


def test_two_goals_are_never_sent_at_the_same_instant() -> None:
    """Not even when the first one ended in it."""
    adapter = GripperAdapter(make_config(gripper_min_interval=0.5))
    assert adapter.goal(-1.0, S_NS) is not None
    adapter.finished(ok=True)
    assert adapter.goal(1.0, S_NS) is None
    assert (
        adapter.goal(1.0, S_NS - 1) is not None
    )  # a clock that was set back does not keep the fingers waiting


def test_five_goals_in_a_row_may_fail() -> None:
    adapter = GripperAdapter(make_config())
    for second in range(5):
        assert adapter.goal(-1.0, second * S_NS) is not None and not adapter.gave_up
        adapter.finished(ok=False)
    assert adapter.gave_up


# --- chunks -------------------------------------------------------------------------------------------------------


def test_a_step_period_may_be_off_by_one_percent() -> None:
    config = make_config()
    for period_ns in (round(1.01 * PERIOD_NS), round(0.99 * PERIOD_NS)):
        assert check_shape(make_chunk(0, step_period_ns=period_ns), config) is None
    for period_ns in (round(1.01 * PERIOD_NS) + 1, round(0.99 * PERIOD_NS) - 1):
        refusal = check_shape(make_chunk(0, step_period_ns=period_ns), config)
        assert refusal is not None and "one action every" in refusal.sentence


def test_a_prediction_may_be_as_long_as_the_configuration_says() -> None:
    config = make_config()

    def refusal(chunks: int, horizon: int) -> str:
        found = check_shape(make_chunk(0, data=np.zeros((chunks, horizon, 7), np.float32)), config)
        return "" if found is None else found.sentence

    assert refusal(config.max_chunks, config.max_horizon) == ""
    assert "max_horizon" in refusal(config.max_chunks, config.max_horizon + 1)
    assert "max_chunks" in refusal(config.max_chunks + 1, config.max_horizon)


def test_a_quaternion_is_kept_bit_for_bit_unless_it_is_no_unit() -> None:
    rig = Rig().begin()
    near, far = DOWN * (1.0 + 5e-7), DOWN * (1.0 + 5e-6)
    for quaternion, kept in ((near, near), (far, DOWN)):
        rig.now_ns += PERIOD_NS
        rig.observe(pose=Pose(position=POSE.position, quaternion=quaternion))
        action = rig.tick()
        assert action is not None
        np.testing.assert_array_equal(action.target_pose.quaternion, kept)


def test_out_of_reach_and_beyond_a_joint_are_told_apart() -> None:
    far = {"workspace_min": (-2.0, -2.0, -2.0), "workspace_max": (2.0, 2.0, 2.0), "tilt_limit": 3.15}
    planner = TrajectoryPlanner(make_config(**ARM, **far, joint_speed_fraction=1.0))
    results = set()
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        rig = Rig(planner=planner, **ARM, **far, joint_speed_fraction=1.0)
        joints = HOME.copy()
        planner.set_shadow(False)
        for _ in range(400):
            motions = np.zeros((1, 6), np.float32)
            motions[0, :3] = 0.0075 * direction
            ack = _try(planner, motions, joints, rig.now_ns)
            if isinstance(ack, AckResult):
                results.add(ack)
                break
            joints = ack
            planner.set_shadow(False)
    assert {AckResult.IK, AckResult.JOINT_LIMIT} <= results


def _try(planner: TrajectoryPlanner, motions: Any, joints: Any, now_ns: int) -> Any:
    try:
        [step] = planner.plan(motions, make_state(now_ns, pose=forward(joints), positions=joints), now_ns)
    except PlanRefusedError as error:
        return error.result
    return step.positions


# --- trajectories -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint", range(7))
@pytest.mark.parametrize("side", [-1, 1])
def test_a_trajectory_may_end_at_a_joints_limit_and_not_beyond(joint: int, side: int) -> None:
    limits = joint_limits(RobotType.FR3)
    edge = (limits.lower if side < 0 else limits.upper)[joint]
    rest = np.zeros((1, 7))

    def sentence(end: float, inside: np.ndarray | None = None) -> str:
        start = HOME.copy()
        start[joint] = edge - side * 0.01
        goal = start.copy()
        goal[joint] = end
        trajectory = JointTrajectory(np.array([2.0]), goal[None], rest, rest, 0)
        return excess(trajectory, (start, np.zeros(7), np.zeros(7)), limits, inside)

    beyond = edge + side * 1e-6
    assert sentence(edge) == ""
    assert sentence(beyond) == f"joint {joint + 1} beyond its position limit"
    at = HOME.copy()
    at[joint] = beyond
    assert sentence(beyond, inside=at) == ""  # where the arm is measured it may stay


def test_a_late_trajectory_from_rest_starts_now_and_in_motion_ends_the_chunk() -> None:
    rig = arm_rig()
    data = np.zeros((1, 8, 7), np.float32)
    data[..., 1], data[..., 6] = 0.0015, 1.0
    assert rig.send(data=data).result == AckResult.ACCEPTED
    assert rig.core.take_trajectory() is not None
    for _ in range(3):
        rig.now_ns += PERIOD_NS
        positions = rig.core._planner.command(rig.now_ns)[0]  # type: ignore[union-attr]
        rig.observe(positions=positions, pose=forward(positions))
        rig.tick()
    assert rig.send(data=data, chunk_seq=2, base_step=rig.core._step).result == AckResult.ACCEPTED
    assert rig.core.take_trajectory() is not None
    stop = rig.core.on_late_trajectory(0.2, rig.now_ns)
    assert stop is not None and not np.any(stop.velocities[-1])
    assert rig.core.status.faults & Fault.POLICY_LATE
    assert "0.200 s late" in rig.core.status.detail and rig.core.state is SafetyState.HOLD


def test_in_shadow_each_motion_from_rest_starts_at_the_measured_joints() -> None:
    rig = arm_rig()
    assert rig.core.set_mode(Mode.SHADOW)[0]
    away = HOME + np.array([0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(8):
        rig.now_ns += PERIOD_NS
        rig.observe(positions=away, pose=forward(away))
        rig.tick()
    assert rig.core.arm()[0]
    data = np.zeros((1, 8, 7), np.float32)
    data[..., 1], data[..., 6] = 0.0015, 1.0
    ack = rig.send(data=data, base_step=rig.core._step)
    assert ack.result == AckResult.SHADOW, ack.detail
    rig.now_ns += PERIOD_NS
    rig.observe(positions=away, pose=forward(away))
    action = rig.tick()
    assert action is not None and not action.executed
    assert np.max(np.abs(action.target_positions - away)) < 0.05
    assert rig.core.take_trajectory() is None


def test_a_human_s_command_tells_how_old_it_is() -> None:
    rig = Rig().begin()
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(np.full(6, 0.01), 0.0, rig.now_ns)
    rig.now_ns += 30_000_000
    rig.observe()
    action = rig.tick()
    assert action is not None and action.latency == pytest.approx(0.03)


# --- the planned path ---------------------------------------------------------------------------------------------


def forward_motions(size: float) -> np.ndarray:
    return np.tile(np.array([size, 0, 0, 0, 0, 0], np.float32), (8, 1))


def test_a_motion_is_judged_by_where_it_leads() -> None:
    """At the wall of the workspace: out of it is refused, back into it is not."""
    wall = float(forward(HOME).position[0])
    config = make_config(**ARM, workspace_max=(wall, 0.45, 0.70), gross_workspace=0.002, max_clipped_steps=8)
    state = make_state(S_NS, forward(HOME), positions=HOME)
    with pytest.raises(PlanRefusedError, match="outside the workspace box") as caught:
        TrajectoryPlanner(config).plan(forward_motions(0.01), state, S_NS)
    assert caught.value.result is AckResult.WORKSPACE
    steps = TrajectoryPlanner(config).plan(forward_motions(-0.01), state, S_NS)
    assert steps[-1].target_pose.position[0] < wall - 0.02


def test_an_arm_that_settled_is_compared_with_its_command_alone() -> None:
    """While it settles it may already be at the end of its path; in a chunk it may not."""
    planner = TrajectoryPlanner(make_config(**ARM))
    planner.plan(forward_motions(0.008), make_state(S_NS, forward(HOME), positions=HOME), S_NS)
    trajectory = planner.take()
    assert trajectory is not None
    amid_ns = S_NS + 4 * PERIOD_NS
    end = trajectory.positions[-1]
    ahead = np.max(np.abs(end - planner.command(amid_ns)[0]))
    assert ahead > 0.02
    assert planner.tracking_error(make_state(amid_ns, forward(end), positions=end)) == pytest.approx(ahead)


def test_arming_settles_an_arm_that_is_farther_than_a_hundredth_rad_from_its_command() -> None:
    planner = TrajectoryPlanner(make_config(**ARM))
    planner.restart(make_state(S_NS, forward(HOME), positions=HOME), S_NS)
    assert planner.take() is not None  # its controller's command is unknown
    now_ns = 2 * S_NS
    for away, settles in ((0.01, False), (float(np.nextafter(0.01, 1.0)), True)):
        joints = HOME + np.array([away, 0, 0, 0, 0, 0, 0])
        planner.restart(make_state(now_ns, forward(joints), positions=joints), now_ns)
        assert (planner.take() is not None) is settles


def test_a_path_that_is_continued_at_a_waypoint_has_it_once() -> None:
    waypoints = np.repeat(np.arange(9.0), 7).reshape(9, 7)
    path = RawPath(0, np.linspace(0.0, 1.0, 9), waypoints)
    longer = path.continued(S_NS // 2, 0.25, np.array([0.125, 0.25]), waypoints[1:3])
    np.testing.assert_array_equal(longer.times, [-0.25, -0.125, 0.0, 0.125, 0.25])
    np.testing.assert_array_equal(longer.positions[:, 0], [2.0, 3.0, 4.0, 1.0, 2.0])


def test_each_part_of_any_quintic_is_the_derivative_of_the_one_before() -> None:
    rng = np.random.default_rng(3)
    knots = tuple(rng.uniform(-1.0, 1.0, (4, 7)) for _ in range(3))
    period = 1e-4
    for start in (0.0, 0.4, 0.7):
        at = start + np.arange(0.01, 0.19, period)
        parts = quintic(np.array([0.0, 0.4, 0.7, 1.5]), knots, at)  # type: ignore[arg-type]
        for values, derivative in itertools.pairwise(parts):
            middle = (derivative[1:] + derivative[:-1]) / 2
            np.testing.assert_allclose(np.diff(values, axis=0) / period, middle, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("length", [0.25, 0.2504, 0.2506, 0.2509])
def test_samples_reach_to_half_a_period_from_the_end(length: float) -> None:
    rest = np.zeros((1, 7))
    trajectory = JointTrajectory(np.array([length]), rest + 0.1, rest, rest)
    samples = sample_quintic(trajectory, (np.zeros(7), np.zeros(7), np.zeros(7)), 0.001)
    assert len(samples[0]) == round(length / 0.001) + 1


def test_samples_of_a_path_are_derivatives_of_each_other() -> None:
    planner = TrajectoryPlanner(make_config(**ARM))
    planner.plan(forward_motions(0.008), make_state(S_NS, forward(HOME), positions=HOME), S_NS)
    trajectory = planner.take()
    assert trajectory is not None
    period = 1e-5
    parts = sample_quintic(trajectory, (HOME, np.zeros(7), np.zeros(7)), period)
    # Within one polynomial; the jerk jumps between two.
    inside = slice(round(trajectory.times[1] / period) + 5, round(trajectory.times[2] / period) - 5)
    for values, derivative in itertools.pairwise(parts):
        differences = np.diff(values[inside], axis=0) / period
        middle = (derivative[inside][1:] + derivative[inside][:-1]) / 2
        np.testing.assert_allclose(differences, middle, atol=1e-5 * np.max(np.abs(derivative)) + 1e-4)
