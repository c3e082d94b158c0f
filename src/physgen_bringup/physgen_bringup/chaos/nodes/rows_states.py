# SPDX-License-Identifier: Apache-2.0
"""Rows 40 to 53: robot states that end, lie, or come from another time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial

from physgen_bringup.chaos.nodes.outcomes import goes_on, stays_held
from physgen_bringup.chaos.nodes.probe import Said
from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.nodes.states import measured, send_state
from physgen_bringup.chaos.row import FAKE, Measured, make_row, must
from physgen_control.types import Fault, SafetyState

S_NS = 1_000_000_000


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


_row = partial(make_row, graphs=(FAKE,))
_HOLD = "HOLD, STATE_STALE, until armed again"
_AGE, _BELIEF = (
    "age of the robot state (max_state_age 0.15 s)",
    "a state that cannot be true (state_belief.py)",
)
_IGNORED = "ignored and named; the arm goes on"
ROWS = (
    _row(40, "states_end", "the driver publishes no state any more", _AGE, _HOLD, (0.4, 0.8), frozen),
    _row(41, "driver_stands_still", "the driver's process is stopped for a second", _AGE, _HOLD, (0.5, 0.8), stopped,
         may_refuse=True),
    _row(42, "driver_killed", "the driver's process is killed and started again", _AGE,
         "HOLD, STATE_STALE, then ROBOT_MODE, until armed again", (0.5, None), killed, may_refuse=True),
    _row(43, "state_nan", "NaN in a robot state", "checks on arrival", _IGNORED, (0.4, None),
         ignored(lambda rig: send_state(rig.probe, joints={2: float("nan")}), "NaN")),
    _row(44, "state_without_joints", "a joint state without the arm's joints", "conversion of the message",
         "ignored; the arm goes on", (None, None), ignored(_nameless, "")),
    _row(45, "pose_without_rotation", "a pose whose quaternion is zero", "conversion of the message",
         "ignored; the arm goes on", (None, None), ignored(_no_rotation, "")),
    _row(46, "state_of_tomorrow", "a state stamped a day ahead", "max_future_stamp", _IGNORED, (0.4, None),
         ignored(_stamped(lambda now: now + 86400 * S_NS), "in the future")),
    _row(47, "state_stamp_zero", "a state with stamp 0", _BELIEF, _HOLD, (0.3, 0.6),
         lie(_stamped(lambda _: 0), "before now")),
    _row(48, "state_of_before", "a state stamped five seconds ago", _BELIEF, _HOLD, (0.3, 0.6),
         lie(_stamped(lambda now: now - 5 * S_NS), "before now")),
    _row(49, "joint_out_of_range", "a joint beyond what the arm can reach", _BELIEF, _HOLD, (0.3, 0.6),
         lie(lambda rig: send_state(rig.probe, joints={3: 1.0}), "range")),
    _row(50, "state_jumps", "a joint jumps by half a radian", _BELIEF, _HOLD, (0.3, 0.6),
         lie(_shifted(0, 0.5), "must agree")),
    _row(51, "pose_against_joints", "a pose 0.3 m from where the joints put the tool", _BELIEF, _HOLD, (0.3, 0.6),
         lie(lambda rig: send_state(rig.probe, shift=(0.0, 0.0, 0.3)), "pose_tolerance")),
    _row(52, "wrong_state_after_gap", "the first state after a gap is half a radian off", _AGE + ", " + _BELIEF,
         "HOLD, nothing moves towards it, arming refused", (0.4, 0.8), glitch_after_gap),
    _row(53, "arming_without_state", "arming while no state comes", "preconditions of arming",
         "refused with the reason", (0.5, 1.0), arming_without_state),
)  # fmt: skip
