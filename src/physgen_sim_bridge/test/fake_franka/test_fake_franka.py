# SPDX-License-Identifier: Apache-2.0
"""The fake Franka without ROS: interpolation, reflexes, grasping, episodes, and the audit of trajectories."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physgen_control.controller_config import ArmInterface, ControllerConfig, Mode
from physgen_control.errors import UserError
from physgen_control.motion import commanded_motion
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S, EpisodePhase
from physgen_sim_bridge.fake_franka import audit as audit_module
from physgen_sim_bridge.fake_franka.arm import RobotMode, SimulatedArm
from physgen_sim_bridge.fake_franka.audit import audit
from physgen_sim_bridge.fake_franka.episodes import Episodes, ResetRequest
from physgen_sim_bridge.fake_franka.follower import TrajectoryCommand, TrajectoryFollower, in_arm_order
from physgen_sim_bridge.fake_franka.painter import Painter
from physgen_sim_bridge.fake_franka.robot import JOINTS, FakeFranka, FaultConfig
from physgen_sim_bridge.fake_franka.table import CUBE_HALF, Fingers, Table

CONFIG = ControllerConfig(mode=Mode.ARMED, arm_interface=ArmInterface.JOINT_TRAJECTORY)
S = NS_PER_S
LIFT = np.array([0.05, 0.0, 0.1])


def command(target: np.ndarray, seconds: float = 1.0, start_ns: int = 0, **changes: Any) -> TrajectoryCommand:
    fields: dict[str, Any] = {
        "start_ns": start_ns,
        "times": np.array([seconds]),
        "positions": np.array([target], np.float64),
        "velocities": np.zeros((1, 7)),
        "accelerations": np.zeros((1, 7)),
    } | changes
    return TrajectoryCommand(**fields)


def make_robot(task: str = "FrankaPick-v0", **faults: Any) -> FakeFranka:
    return FakeFranka(task, FaultConfig(**faults), now_ns=S)


# --- trajectories ---------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_any_accepted_chunk_keeps_every_joint_limit_at_1_khz(seed):
    """Planned: the configured limits. Executed with message delays: the datasheet's, and no step at any seam."""
    report = audit(8, seed, CONFIG)
    assert report.sent == 8 and not report.violations, report.violations
    assert report.peaks["planned velocity"] > 0.1


def test_the_audit_finds_what_a_planner_without_checks_does(monkeypatch):
    monkeypatch.setattr(commanded_motion, "excess", lambda *_: "")
    assert audit(60, 3, CONFIG).violations


def test_the_audit_finds_a_seam_that_is_not_continuous(monkeypatch):
    """A planner that forgets what it sent starts at the measured joints, at rest, in the middle of a motion."""
    plan = TrajectoryPlanner.plan

    def forgetful(self, motions, state, now_ns):
        before = (self._path, copy.copy(self._motion))
        self._path = None
        self._motion.forget()
        try:
            return plan(self, motions, state, now_ns)
        except PlanRefusedError:
            self._path, self._motion = before
            raise

    monkeypatch.setattr(TrajectoryPlanner, "plan", forgetful)
    found = audit(60, 3, CONFIG).violations
    assert any(name.startswith("executed") for name in found), found


@pytest.mark.slow
def test_ten_thousand_random_chunks_have_no_violation():
    """The full audit of 100,000 is `python -m physgen_sim_bridge.fake_franka.audit --chunks 100000`."""
    report = audit(10_000, 5, CONFIG)
    assert not report.violations
    assert min(report.seams.values()) > 500


def test_the_audit_command_reports_and_returns_its_status(capsys):
    assert audit_module.main(["--chunks", "16"]) == 0
    assert "violations 0" in capsys.readouterr().out


# --- follower -------------------------------------------------------------------------------------------------


def test_a_replacement_continues_from_the_desired_state():
    follower = TrajectoryFollower(HOME, S)
    assert not follower.accept(command(HOME + 0.2), S)
    now_ns = S + S // 2
    before = follower.sample(np.array([0.0]), now_ns)
    assert not follower.accept(command(HOME - 0.1), now_ns)
    after = follower.sample(np.array([0.0]), now_ns)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-12)
    end, speed, _ = follower.sample(np.array([2.0]), now_ns)
    np.testing.assert_allclose(end[0], HOME - 0.1)
    assert not speed.any()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"times": np.array([])}, "empty"),
        ({"positions": np.zeros((1, 6))}, "7 numbers"),
        ({"positions": np.full((1, 7), np.nan)}, "not finite"),
        ({"velocities": np.ones((1, 7))}, "at rest"),
        ({"start_ns": S // 2, "times": np.array([0.1])}, "in the past"),
        (
            {
                "times": np.array([0.2, 0.2]),
                "positions": np.zeros((2, 7)),
                "velocities": None,
                "accelerations": None,
            },
            "strictly",
        ),
    ],
)
def test_bad_trajectories_are_refused_as_by_the_controller(changes, expected):
    follower = TrajectoryFollower(HOME, S)
    assert expected in follower.accept(command(HOME, **changes), S)
    np.testing.assert_array_equal(follower.sample(np.array([0.0]), S)[0][0], HOME)


def test_joints_are_found_by_name_in_any_order():
    assert in_arm_order(JOINTS[::-1], JOINTS) == list(range(6, -1, -1))
    assert in_arm_order(JOINTS[:6], JOINTS) is None
    assert in_arm_order(("a",) * 7, JOINTS) is None


def test_positions_alone_are_a_straight_line_and_with_velocities_a_cubic():
    for velocities, middle in ((None, 0.1), (np.zeros((1, 7)), 0.1)):
        follower = TrajectoryFollower(HOME, S)
        follower.accept(command(HOME + 0.2, velocities=velocities, accelerations=None), S)
        position, speed, _ = follower.sample(np.array([0.5]), S)
        np.testing.assert_allclose(position[0], HOME + middle)
        assert speed[0, 0] == pytest.approx(0.2 if velocities is None else 0.3)


# --- arm ------------------------------------------------------------------------------------------------------


def test_the_arm_follows_within_a_milliradian_and_stays_within_its_limits():
    robot = make_robot()
    assert not robot.command(JOINTS, command(HOME + 0.1, 1.0), S)
    robot.advance(S + 3 * S)
    np.testing.assert_allclose(robot.arm.positions, HOME + 0.1, atol=1e-3)
    assert robot.mode is RobotMode.IDLE


def test_a_step_in_the_command_is_a_reflex_and_the_arm_brakes():
    arm = SimulatedArm(HOME)
    rest = np.zeros(7)
    arm.step(HOME, rest, rest)
    arm.step(HOME + 0.1, rest, rest)
    assert arm.reflex == "controller_torque_discontinuity" and arm.mode is RobotMode.REFLEX
    place = arm.positions.copy()
    for _ in range(500):
        arm.step(HOME + 1.0, rest, rest)
    np.testing.assert_allclose(arm.positions, place, atol=1e-3)


def test_after_a_reflex_the_driver_must_be_activated_step_by_step():
    robot = make_robot()
    robot.reflex()
    reporting = robot.reporting
    assert not reporting
    assert robot.command(JOINTS, command(HOME), S) == "the controller is not active"
    assert robot.activate_hardware() and robot.activate()
    robot.recover()
    assert robot.activate() == "the hardware component is not active"
    assert not robot.activate_hardware() and robot.reporting
    assert not robot.activate()
    assert not robot.command(JOINTS, command(HOME), S)


def test_a_pressed_user_stop_cannot_be_recovered():
    robot = make_robot()
    robot.set_user_stop(True)
    robot.recover()
    assert "USER_STOPPED" in robot.activate_hardware()
    robot.set_user_stop(False)
    assert not robot.activate_hardware() and not robot.activate()


def test_a_late_command_takes_effect_late():
    robot = make_robot(command_latency=0.5)
    robot.command(JOINTS, command(HOME + 0.05, 0.2), S)
    robot.advance(S + S // 4)
    np.testing.assert_allclose(robot.arm.positions, HOME, atol=1e-6)
    robot.advance(S + 2 * S)
    np.testing.assert_allclose(robot.arm.positions, HOME + 0.05, atol=1e-3)


def test_noise_is_in_the_measurement_only():
    robot = make_robot(noise=0.01)
    samples = np.array([robot.measure().positions for _ in range(200)])
    assert 0.005 < samples.std() - HOME.std() + 0.01 < 0.02
    np.testing.assert_array_equal(robot.arm.positions, HOME)


# --- table ----------------------------------------------------------------------------------------------------


def holds(table: Table) -> bool:
    """A call, because a type checker takes it that a property stays what it was."""
    return table.held


def test_the_fingers_stop_at_the_cube_and_carry_it():
    table, fingers = Table("FrankaPick-v0"), Fingers()
    table.reset(0)
    tcp = forward(HOME)
    over = type(tcp)(position=table.cube.copy(), quaternion=tcp.quaternion)
    fingers.command(0.0, 0.1, 20.0)
    for _ in range(100):
        table.step(over, fingers, 0.01)
    assert fingers.width == pytest.approx(2 * CUBE_HALF)
    assert holds(table)
    lifted = type(tcp)(position=over.position + LIFT, quaternion=tcp.quaternion)
    table.step(lifted, fingers, 0.01)
    np.testing.assert_allclose(table.cube, over.position + LIFT, atol=1e-9)
    fingers.command(0.08, 0.1)
    for _ in range(100):
        table.step(lifted, fingers, 0.01)
    assert not holds(table) and table.cube[2] == pytest.approx(CUBE_HALF)


def test_closed_fingers_push_the_cube():
    table, fingers = Table("FrankaPush-v0"), Fingers()
    table.reset(1)
    fingers.width = 0.0
    start = table.cube.copy()
    tcp = forward(HOME)
    for x in np.linspace(start[0] - 0.08, start[0] + 0.02, 50):
        table.step(
            type(tcp)(position=np.array([x, start[1], 0.02]), quaternion=tcp.quaternion), fingers, 0.01
        )
    assert table.cube[0] > start[0] + 0.025 and table.cube[1] == start[1]


def test_the_same_seed_places_the_same_things_and_bad_requests_are_sentences():
    one, two = Table("FrankaPick-v0"), Table("FrankaPick-v0")
    one.reset(7)
    two.reset(7)
    np.testing.assert_array_equal(one.cube, two.cube)
    np.testing.assert_array_equal(one.goal, two.goal)
    with pytest.raises(UserError, match="FrankaPick-v0"):
        Table("Fly-v0")
    with pytest.raises(UserError, match="negative"):
        one.reset(-1)


# --- episodes and images ----------------------------------------------------------------------------------------


def test_an_episode_begins_when_the_arm_is_home_and_ends_with_success():
    robot = make_robot()
    robot.command(JOINTS, command(HOME + 0.2, 1.0), S)
    robot.advance(S + S // 2)  # in motion
    episodes = Episodes(robot, "FrankaPick-v0")
    episode_id = episodes.request(ResetRequest(task="FrankaPick-v0", seed=3, max_steps=0))
    now_ns = S + S // 2
    assert episodes.poll(now_ns) is None
    while robot.homing:
        now_ns += S // 10
        robot.advance(now_ns)
        assert now_ns < 30 * S
    begun = episodes.poll(now_ns)
    assert begun is not None and begun.episode_id == episode_id and begun.phase is EpisodePhase.RUNNING
    np.testing.assert_allclose(robot.arm.positions, HOME, atol=1e-3)
    assert not robot.arm.reflex
    robot.table.cube = robot.table.goal.copy()
    ended = episodes.poll(now_ns)
    assert ended is not None and ended.phase is EpisodePhase.SUCCESS


def test_images_show_the_cube_where_it_is():
    robot = make_robot()
    painter = Painter(160, 120)
    tcp, table = robot.measure().tcp_pose, robot.table
    images = []
    for shift in (0.0, 0.1):
        cube = table.cube + np.array([0.0, shift, 0.0])
        images.append(painter.paint(tcp, 0.08, cube, table.cube_turn, table.goal))
    columns = []
    for image in images:
        fixed = image["fixed"].astype(int)
        blue = (fixed[:, :, 2] > 90) & (fixed[:, :, 0] < 60)
        assert blue.any()
        columns.append(np.nonzero(blue)[1].mean())
        assert image["wrist"].shape == (120, 160, 3) and image["wrist"].dtype == np.uint8
    assert columns[1] > columns[0] + 5  # +y is to the right for a camera that looks back at the arm
