# SPDX-License-Identifier: Apache-2.0
"""Rows 54 to 60: what the arm itself reports: forces, a reflex or stop of the robot, trouble of the gripper."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial

from geometry_msgs.msg import WrenchStamped

from physgen_bringup.chaos.nodes.chunks import sideways
from physgen_bringup.chaos.nodes.outcomes import stays_held
from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import FAKE, Measured, NotPossibleError, make_row, must
from physgen_control.types import Fault, SafetyState


def wrench(force: float) -> Callable[[Rig], Measured]:
    """The arm feels this force [N]."""

    def inject(rig: Rig) -> Measured:
        message = WrenchStamped()
        message.header.stamp = rig.probe.node.get_clock().now().to_msg()
        message.wrench.force.x = force
        t0 = time.monotonic()
        rig.probe.wrench_out.publish(message)
        detected, rest = rig.probe.held(t0, Fault.WRENCH), rig.probe.rest(t0)
        stays_held(rig)
        return Measured(detected, rest)

    return inject


def blocked(rig: Rig) -> Measured:
    """The arm is held fast while the policy goes on in one direction."""
    probe = rig.probe
    probe.switch("/fake_franka/block_arm", True)
    t0 = time.monotonic()
    try:
        probe.playing = False
        end_s = t0 + 10.0
        while not probe.said.faults & (Fault.WRENCH | Fault.TRACKING):
            must(time.monotonic() < end_s, "a blocked arm was not noticed within 10 s")
            probe.send(sideways(0.004))
            probe.spin(0.3)
        detected = probe.held(t0, Fault.WRENCH | Fault.TRACKING)
        rest = probe.rest(t0)
    finally:
        probe.switch("/fake_franka/block_arm", False)
    probe.playing = True
    stays_held(rig)
    return Measured(detected, rest)


def robot_stops(service: str) -> Callable[[Rig], Measured]:
    """A reflex or the user stop: the driver's controllers become inactive."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        t0 = time.monotonic()
        stop = service == "user_stop"
        probe.switch("/fake_franka/user_stop", True) if stop else probe.trigger(f"/fake_franka/{service}")
        try:
            detected = probe.held(t0, Fault.ROBOT_MODE | Fault.STATE_STALE)
            rest = probe.tool_rest(t0)
            answer = probe.arm()
            must(not answer.success, "the controller armed an arm that cannot move")
        finally:
            if stop:
                probe.switch("/fake_franka/user_stop", False)
            probe.spin(0.2)
            probe.trigger("/fake_franka/recover")
        probe.spin(0.5)
        stays_held(rig)
        return Measured(detected, rest)

    return inject


def gripper_trouble(service: str) -> Callable[[Rig], Measured]:
    """Gripper goals are refused or fail; the arm goes on, and the goal is sent again."""

    def inject(rig: Rig) -> Measured:
        need_driver_types()
        probe = rig.probe
        probe.switch(f"/fake_franka/{service}", True)
        t0 = time.monotonic()
        try:
            probe.gripper = -1.0
            detected = probe.detect(t0, lambda said: said.faults & Fault.GRIPPER, "GRIPPER", 8.0)
            must(probe.state is SafetyState.ARMED, f"the arm stopped: {probe.said}")
        finally:
            probe.switch(f"/fake_franka/{service}", False)
            probe.gripper = 1.0
        probe.wait_for(lambda: not probe.said.faults & Fault.GRIPPER, "the end of the trouble", 15.0)
        return Measured(detected)

    return inject


def need_driver_types() -> None:
    """Check that the driver's action types are installed.

    Raises:
        NotPossibleError: They are not.
    """
    missing = [
        name
        for name in ("control_msgs", "franka_msgs", "controller_manager_msgs")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise NotPossibleError(f"{', '.join(missing)} of the real driver are not installed here")


_row = partial(make_row, graphs=(FAKE,))
ROWS = (
    _row(54, "force", "an external force of 100 N", "max_force", "HOLD, WRENCH, until armed again", (0.3, 0.6),
         wrench(100.0)),
    _row(55, "force_nan", "an external force of NaN", "max_force", "HOLD, WRENCH, until armed again", (0.3, 0.6),
         wrench(float("nan"))),
    _row(56, "arm_blocked", "the arm is held fast", "force, or distance from the command",
         "HOLD, WRENCH or TRACKING, until armed again", (3.0, 4.0), blocked),
    _row(57, "reflex", "the robot stops in a reflex", "robot mode at 10 Hz, states that end",
         "HOLD until recovered and armed", (0.5, 0.8), robot_stops("reflex"), may_refuse=True),
    _row(58, "user_stop", "the user stop is pressed", "robot mode at 10 Hz, states that end",
         "HOLD until released, recovered and armed", (0.5, 0.8), robot_stops("user_stop"), may_refuse=True),
    _row(59, "gripper_goal_fails", "gripper goals fail", "result of the action",
         "GRIPPER, sent again; the arm goes on", (3.0, None), gripper_trouble("fail_goals")),
    _row(60, "gripper_goal_refused", "gripper goals are refused", "answer of the action",
         "GRIPPER, sent again; the arm goes on", (3.0, None), gripper_trouble("drop_goals")),
)  # fmt: skip
