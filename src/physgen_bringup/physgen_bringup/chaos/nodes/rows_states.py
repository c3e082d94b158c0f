# SPDX-License-Identifier: Apache-2.0
"""Rows 40 to 60: robot states that end, lie, or come from another time, and what the arm itself reports."""

from __future__ import annotations

import importlib.util
import signal
import time
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import WrenchStamped

from physgen_bringup.chaos.nodes.chunks import sideways
from physgen_bringup.chaos.nodes.probe import Said
from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.nodes.states import measured, send_state
from physgen_bringup.chaos.row import FAKE, Measured, NotPossibleError, Row, must
from physgen_control.types import Fault, SafetyState

S_NS = 1_000_000_000


def stays_held(rig: Rig, seconds: float = 0.5) -> None:
    """Whatever comes, only arming goes on: the policy keeps sending and the arm keeps holding."""
    rig.probe.spin(seconds)
    must(rig.probe.state is SafetyState.HOLD, f"the arm went on by itself: {rig.probe.said}")


def goes_on(rig: Rig, since_s: float) -> None:
    """No fault stopped the arm since then, and it moves; a chunk that a busy machine was late with stops nothing."""
    faults = Fault.POLICY_LATE | Fault.CHUNK_REJECTED
    stops = [said for said in rig.probe.statuses if said.time_s > since_s and said.faults & ~faults]
    must(not stops, f"the arm stopped: {stops[:1]}")
    rig.probe.wait_for(rig.moving, "motion", 3.0)


def frozen(rig: Rig) -> Measured:
    """The driver runs and publishes no state."""
    probe = rig.probe
    probe.switch("/fake_franka/freeze_state", True)
    t0 = time.monotonic()
    try:
        detected, rest = probe.held(t0, Fault.STATE_STALE), probe.tool_rest(t0)
    finally:
        probe.switch("/fake_franka/freeze_state", False)
    stays_held(rig)
    return Measured(detected, rest)


def stopped(rig: Rig) -> Measured:
    """The driver's process stands still for a second."""
    probe = rig.probe
    rig.kill(rig.world, signal.SIGSTOP)
    t0 = time.monotonic()
    try:
        detected = probe.held(t0, Fault.STATE_STALE)
        probe.spin(max(0.0, t0 + 1.0 - time.monotonic()))
    finally:
        rig.kill(rig.world, signal.SIGCONT)
    t1 = time.monotonic()
    rest = probe.rest(t1)
    stays_held(rig)
    return Measured(detected, rest, "rest is counted from the moment in which the driver goes on")


def killed(rig: Rig) -> Measured:
    """The driver's process dies and is started again."""
    probe = rig.probe
    probe.pretend_driver(False)
    rig.kill(rig.world)
    t0 = time.monotonic()
    try:
        detected = probe.held(t0, Fault.STATE_STALE)
        rig.wait_dead(rig.world)
        probe.detect(t0, lambda said: said.faults & Fault.ROBOT_MODE, "ROBOT_MODE without a driver", 10.0)
    finally:
        probe.pretend_driver(True)
    probe.playing = False
    rig.restart(rig.world)
    t1 = time.monotonic()
    probe.wait_for(lambda: probe.samples and probe.samples[-1][0] > t1, "states of the new driver", 30.0)
    probe.playing = True
    stays_held(rig)
    return Measured(detected, None, "the arm is the driver here: with it the motion ends")


NOT_BELIEVED = "was not believed"
"""What is said of a state, also of one that a message of the driver took half of: it came between pose and joints."""


def lie(send: Callable[[Rig], None], words: str) -> Callable[[Rig], Measured]:
    """States that cannot be true, until they are noticed: HOLD until armed again.

    States are best effort, and the newest is enough for whoever reads them: one alone may be lost.
    """

    def noticed(said: Said) -> bool:
        stopped = said.state is SafetyState.HOLD and bool(said.faults & Fault.STATE_STALE)
        return stopped and (words in said.detail or NOT_BELIEVED in said.detail)

    def inject(rig: Rig) -> Measured:
        t0 = time.monotonic()
        while not any(noticed(said) for said in rig.probe.statuses if said.time_s >= t0):
            must(time.monotonic() < t0 + 5.0, f"no HOLD because {words!r} within 5 s: {rig.probe.said}")
            send(rig)
            rig.probe.spin(0.05)
        detected = rig.probe.detect(t0, noticed, f"HOLD because {words!r}", 5.0)
        rest = rig.probe.rest(t0)
        stays_held(rig)
        return Measured(detected, rest)

    return inject


def ignored(send: Callable[[Rig], None], words: str) -> Callable[[Rig], Measured]:
    """States that are ignored and named, while right ones keep the arm moving."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        t0 = time.monotonic()
        for _ in range(5):
            send(rig)
            probe.spin(0.02)
        detected = (
            probe.detect(t0, lambda said: words in said.detail, f"the words {words!r}", 3.0)
            if words
            else None
        )
        probe.spin(0.5)
        goes_on(rig, t0)
        return Measured(detected)

    return inject


def glitch_after_gap(rig: Rig) -> Measured:
    """States end for half a second; the first one after them is half a radian off."""
    probe = rig.probe
    probe.switch("/fake_franka/freeze_state", True)
    t0 = time.monotonic()
    try:
        detected = probe.held(t0, Fault.STATE_STALE)
        probe.spin(0.5)
        before = measured(probe).positions[0]
        send_state(probe, joints={0: before + 0.5})
        refused = probe.arm()
        must(not refused.success, f"armed on a wrong state: {refused.message}")
        rest = probe.tool_rest(t0)
    finally:
        probe.switch("/fake_franka/freeze_state", False)
    probe.spin(0.3)
    moved = abs(measured(probe).positions[0] - before)
    must(moved < 0.15, f"joint 1 moved by {moved:.3f} rad towards the wrong state")
    stays_held(rig)
    return Measured(detected, rest)


def arming_without_state(rig: Rig) -> Measured:
    """Arming while no state comes."""
    probe = rig.probe
    probe.switch("/fake_franka/freeze_state", True)
    try:
        probe.held(time.monotonic() - 0.2, Fault.STATE_STALE)
        t0 = time.monotonic()
        answer = probe.arm()
        took = time.monotonic() - t0
        must(not answer.success and " s old" in answer.message, f"arming was answered: {answer.message}")
        return Measured(took, probe.tool_rest(t0))
    finally:
        probe.switch("/fake_franka/freeze_state", False)


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
    """Raise NotPossibleError where the driver's action types are not installed."""
    missing = [
        name
        for name in ("control_msgs", "franka_msgs", "controller_manager_msgs")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise NotPossibleError(f"{', '.join(missing)} of the real driver are not installed here")


def _shifted(index: int, by: float) -> Callable[[Rig], None]:
    return lambda rig: send_state(rig.probe, joints={index: measured(rig.probe).positions[index] + by})


def _stamped(ns: Callable[[int], int]) -> Callable[[Rig], None]:
    return lambda rig: send_state(rig.probe, stamp_ns=ns(rig.probe.now_ns))


def _nameless(rig: Rig) -> None:
    message = type(rig.probe.joints)()
    message.header.stamp = rig.probe.node.get_clock().now().to_msg()
    message.name, message.position = ["elbow"], [1.0]
    rig.probe.joints_out.publish(message)


def _no_rotation(rig: Rig) -> None:
    message = type(rig.probe.pose)()
    message.header.stamp = rig.probe.node.get_clock().now().to_msg()
    message.pose.orientation.w = 0.0
    rig.probe.injected.add(message.header.stamp.sec * S_NS + message.header.stamp.nanosec)
    rig.probe.pose_out.publish(message)


def _row(
    number: int, name: str, hazard: str, detector: str, times: tuple[Any, Any], inject: Any, **more: Any
) -> Row:
    return Row(
        number=number,
        name=name,
        hazard=hazard,
        detector=detector,
        detection_s=times[0],
        rest_s=times[1],
        inject=inject,
        **({"graphs": (FAKE,), "reaction": "HOLD, STATE_STALE, until armed again"} | more),
    )


_AGE, _BELIEF = (
    "age of the robot state (max_state_age 0.15 s)",
    "a state that cannot be true (state_belief.py)",
)
_IGNORED = "ignored and named; the arm goes on"
ROWS = (
    _row(40, "states_end", "the driver publishes no state any more", _AGE, (0.4, 0.8), frozen),
    _row(41, "driver_stands_still", "the driver's process is stopped for a second", _AGE, (0.5, 0.8), stopped,
         may_refuse=True),
    _row(42, "driver_killed", "the driver's process is killed and started again", _AGE, (0.5, None), killed,
         reaction="HOLD, STATE_STALE, then ROBOT_MODE, until armed again", may_refuse=True),
    _row(43, "state_nan", "NaN in a robot state", "checks on arrival", (0.4, None),
         ignored(lambda rig: send_state(rig.probe, joints={2: float("nan")}), "NaN"), reaction=_IGNORED),
    _row(44, "state_without_joints", "a joint state without the arm's joints", "conversion of the message",
         (None, None), ignored(_nameless, ""), reaction="ignored; the arm goes on"),
    _row(45, "pose_without_rotation", "a pose whose quaternion is zero", "conversion of the message",
         (None, None), ignored(_no_rotation, ""), reaction="ignored; the arm goes on"),
    _row(46, "state_of_tomorrow", "a state stamped a day ahead", "max_future_stamp", (0.4, None),
         ignored(_stamped(lambda now: now + 86400 * S_NS), "in the future"), reaction=_IGNORED),
    _row(47, "state_stamp_zero", "a state with stamp 0", _BELIEF, (0.3, 0.6),
         lie(_stamped(lambda _: 0), "before now")),
    _row(48, "state_of_before", "a state stamped five seconds ago", _BELIEF, (0.3, 0.6),
         lie(_stamped(lambda now: now - 5 * S_NS), "before now")),
    _row(49, "joint_out_of_range", "a joint beyond what the arm can reach", _BELIEF, (0.3, 0.6),
         lie(lambda rig: send_state(rig.probe, joints={3: 1.0}), "range")),
    _row(50, "state_jumps", "a joint jumps by half a radian", _BELIEF, (0.3, 0.6),
         lie(_shifted(0, 0.5), "must agree")),
    _row(51, "pose_against_joints", "a pose 0.3 m from where the joints put the tool", _BELIEF, (0.3, 0.6),
         lie(lambda rig: send_state(rig.probe, shift=(0.0, 0.0, 0.3)), "pose_tolerance")),
    _row(52, "wrong_state_after_gap", "the first state after a gap is half a radian off", _AGE + ", " + _BELIEF,
         (0.4, 0.8), glitch_after_gap, reaction="HOLD, nothing moves towards it, arming refused"),
    _row(53, "arming_without_state", "arming while no state comes", "preconditions of arming", (0.5, 1.0),
         arming_without_state, reaction="refused with the reason"),
    _row(54, "force", "an external force of 100 N", "max_force", (0.3, 0.6), wrench(100.0),
         reaction="HOLD, WRENCH, until armed again"),
    _row(55, "force_nan", "an external force of NaN", "max_force", (0.3, 0.6), wrench(float("nan")),
         reaction="HOLD, WRENCH, until armed again"),
    _row(56, "arm_blocked", "the arm is held fast", "force, or distance from the command", (3.0, 4.0), blocked,
         reaction="HOLD, WRENCH or TRACKING, until armed again"),
    _row(57, "reflex", "the robot stops in a reflex", "robot mode at 10 Hz, states that end", (0.5, 0.8),
         robot_stops("reflex"), reaction="HOLD until recovered and armed", may_refuse=True),
    _row(58, "user_stop", "the user stop is pressed", "robot mode at 10 Hz, states that end", (0.5, 0.8),
         robot_stops("user_stop"), reaction="HOLD until released, recovered and armed", may_refuse=True),
    _row(59, "gripper_goal_fails", "gripper goals fail", "result of the action", (3.0, None),
         gripper_trouble("fail_goals"), reaction="GRIPPER, sent again; the arm goes on"),
    _row(60, "gripper_goal_refused", "gripper goals are refused", "answer of the action", (3.0, None),
         gripper_trouble("drop_goals"), reaction="GRIPPER, sent again; the arm goes on"),
)  # fmt: skip
