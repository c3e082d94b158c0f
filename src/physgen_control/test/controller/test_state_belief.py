# SPDX-License-Identifier: Apache-2.0
"""When a measured state is believed: what follows, what jumps, and what is only said again."""

from dataclasses import replace

import numpy as np
import pytest
from controller_rig import make_state

from physgen_control.controller.state_belief import CONFIRMATIONS, StateBelief, impossible_sentence
from physgen_control.controller_config import ArmInterface, ControllerConfig, RobotType
from physgen_control.motion import kinematics
from physgen_control.types import NS_PER_S, RobotState

PERIOD_NS = 10_000_000
CONFIG = ControllerConfig(arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3)
HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])


def state(stamp_ns: int, shift: float = 0.0) -> RobotState:
    """At home with joint 1 shifted [rad]; its pose is where its joints put the tool."""
    positions = HOME + np.array([shift, 0, 0, 0, 0, 0, 0])
    return replace(make_state(stamp_ns), positions=positions, tcp_pose=kinematics.forward(positions))


def believing(stamp_ns: int = 0) -> StateBelief:
    belief = StateBelief(CONFIG)
    assert belief.doubt(state(stamp_ns)) == ""
    return belief


def test_a_jump_is_believed_after_several_measurements_that_agree():
    belief = believing()
    doubts = [belief.doubt(state(n * PERIOD_NS, 0.5)) for n in range(1, CONFIRMATIONS + 1)]
    assert all("was not believed" in doubt for doubt in doubts[:-1])
    assert doubts[-1] == ""


def test_the_same_measurement_again_confirms_nothing():
    """A pair of messages is read once for each of its two; it is one measurement."""
    belief = believing()
    for _ in range(4 * CONFIRMATIONS):
        assert "was not believed" in belief.doubt(state(PERIOD_NS, 0.5))
    for n in range(2, CONFIRMATIONS):
        assert "was not believed" in belief.doubt(state(n * PERIOD_NS, 0.5))
    assert belief.doubt(state(CONFIRMATIONS * PERIOD_NS, 0.5)) == ""


def test_a_repetition_between_measurements_takes_none_away():
    belief = believing()
    answers = []
    for n in range(1, CONFIRMATIONS + 1):
        answers += [belief.doubt(state(n * PERIOD_NS, 0.5)), belief.doubt(state(n * PERIOD_NS, 0.5))]
    assert answers[-1] == "" and answers[-3] != ""


def test_after_a_gap_only_a_state_where_the_arm_was_left_is_believed_at_once():
    gap_ns = 600_000_000
    assert believing().doubt(state(gap_ns, 0.04)) == ""
    belief = believing()
    assert "was not believed" in belief.doubt(state(gap_ns, 0.5))
    assert belief.doubt(state(gap_ns + PERIOD_NS, 0.0)) == ""  # the wrong one is forgotten


@pytest.mark.parametrize(("size", "usable"), [(1e-6, False), (2e-6, True), (9e5, True), (1e6, False)])
def test_a_quaternion_is_a_rotation_unless_it_is_zero_or_huge(size, usable):
    measured = state(0)
    turned = replace(measured.tcp_pose, quaternion=np.array([0.0, size, 0.0, 0.0]))
    sentence = impossible_sentence(replace(measured, tcp_pose=turned))
    assert ("zero or huge" in sentence) is not usable and bool(sentence) is not usable


def test_a_gap_is_longer_than_the_largest_age_of_a_state():
    """Up to it an arm may have moved as fast as it can; after it only where it was left is believed."""
    limit_ns = round(CONFIG.max_state_age * NS_PER_S)
    assert believing().doubt(state(limit_ns, 0.2)) == ""
    assert "was not believed" in believing().doubt(state(limit_ns + 1, 0.2))
