# SPDX-License-Identifier: Apache-2.0
"""Rows 61 to 69: what an operator asks for, and a controller that stands still or dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial

from physgen_bringup.chaos.nodes.outcomes import goes_on, stays_held
from physgen_bringup.chaos.nodes.rig import CONTROLLER, Rig
from physgen_bringup.chaos.nodes.rows_arm import wrench
from physgen_bringup.chaos.row import FAKE, MANISKILL, Measured, make_row, must
from physgen_control.messages import topics
from physgen_control.types import Fault, SafetyState


def hold(rig: Rig) -> Measured:
    """/physgen/hold in motion."""
    t0 = time.monotonic()
    rig.probe.trigger(topics.HOLD)
    detected = rig.probe.detect(t0, lambda said: said.state is SafetyState.HOLD, "HOLD")
    rest = rig.probe.rest(t0)
    stays_held(rig)
    return Measured(detected, rest)


def disarm(rig: Rig) -> Measured:
    """Disarming in motion."""
    t0 = time.monotonic()
    rig.probe.switch(topics.SET_ARMED, False)
    detected = rig.probe.detect(t0, lambda said: said.state is SafetyState.DISARMED, "DISARMED")
    rest = rig.probe.rest(t0)
    rig.probe.spin(0.5)
    must(rig.probe.state is SafetyState.DISARMED, f"the arm went on by itself: {rig.probe.said}")
    return Measured(detected, rest)


def clear_after_stop(rig: Rig) -> Measured:
    """A fault that stopped the arm is cleared: nothing may move before somebody arms."""
    wrench(100.0)(rig)
    t0 = time.monotonic()
    rig.probe.trigger(topics.CLEAR_FAULT)
    detected = rig.probe.detect(t0, lambda said: said.state is SafetyState.DISARMED, "DISARMED")
    rig.probe.spin(0.6)
    must(rig.probe.state is SafetyState.DISARMED, f"the arm went on by itself: {rig.probe.said}")
    return Measured(detected, rig.probe.rest(t0))


def clear_in_motion(rig: Rig) -> Measured:
    """clear_fault without a fault changes nothing."""
    probe = rig.probe
    t0 = time.monotonic()
    answer = probe.trigger(topics.CLEAR_FAULT)
    took = time.monotonic() - t0
    must("ARMED -> ARMED" in answer.message, f"it was answered: {answer.message}")
    probe.spin(0.5)
    goes_on(rig, t0)
    return Measured(took)


def hold_while_settling(rig: Rig) -> Measured:
    """Hold, arm, and hold again at once."""
    probe = rig.probe
    probe.trigger(topics.HOLD)
    rig.make_armed()
    probe.spin(0.1)
    t0 = time.monotonic()
    probe.trigger(topics.HOLD)
    detected = probe.detect(t0, lambda said: said.state is SafetyState.HOLD, "HOLD")
    rest = probe.rest(t0)
    stays_held(rig)
    return Measured(detected, rest)


def end_controller(number: signal.Signals) -> Callable[[Rig], Measured]:
    """The controller ends by a signal and is started again: the arm rests, and must be armed again."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        rig.kill(CONTROLLER, number)
        t0 = time.monotonic()
        rest = probe.rest(t0)
        rig.wait_dead(CONTROLLER)
        width = sum(probe.joints.position[7:9])
        restarted = time.monotonic()
        rig.restart(CONTROLLER)
        probe.wait_for(
            lambda: sum(said.time_s > restarted for said in probe.statuses) > 1, "the new controller", 30.0
        )
        probe.spin(1.0)
        must(probe.state is SafetyState.DISARMED, f"the new controller is {probe.state}: {probe.said}")
        must(probe.speed < 1e-2, f"the arm moves at {probe.speed:.3f} rad/s")
        changed = abs(sum(probe.joints.position[7:9]) - width)
        must(changed < 2e-3, f"the fingers moved by {changed:.4f} m")
        return Measured(None, rest)

    return inject


def controller_stands_still(rig: Rig) -> Measured:
    """The controller is stopped for a second: the arm rests by itself, and its states are old when it goes on."""
    probe = rig.probe
    rig.kill(CONTROLLER, signal.SIGSTOP)
    t0 = time.monotonic()
    try:
        rest = probe.rest(t0)
        probe.spin(max(0.0, t0 + 1.0 - time.monotonic()))
    finally:
        rig.kill(CONTROLLER, signal.SIGCONT)
    t1 = time.monotonic()
    detected = probe.detect(t1, lambda said: said.state is SafetyState.HOLD, "HOLD when it goes on", 5.0)
    probe.spin(0.5)
    name = probe.said.faults & (Fault.STATE_STALE | Fault.POLICY_LATE)
    return Measured(detected, rest, f"detection is counted from its going on; then {name.name or 'no fault'}")


_row = partial(make_row, graphs=(FAKE, MANISKILL))
_REQUEST = "the request"
_TAIL = "the trajectory that the arm has ends at rest"
ROWS = (
    _row(61, "hold", "/physgen/hold in motion", _REQUEST, "HOLD until armed again", (0.3, 0.6), hold),
    _row(62, "disarm", "disarmed in motion", _REQUEST, "DISARMED, the arm rests", (0.3, 0.6), disarm),
    _row(63, "clear_after_stop", "a fault that stopped the arm is cleared", _REQUEST, "DISARMED", (0.3, 0.6),
         clear_after_stop, graphs=(FAKE,)),
    _row(64, "clear_in_motion", "clear_fault without a fault", _REQUEST, "nothing changes", (0.5, None),
         clear_in_motion),
    _row(65, "hold_while_settling", "hold while the arm settles after arming", _REQUEST, "HOLD until armed again",
         (0.3, 0.6), hold_while_settling),
    _row(66, "controller_killed", "the controller is killed and started again", _TAIL,
         "rest; DISARMED, the fingers keep what they have", (None, 1.0), end_controller(signal.SIGKILL),
         graphs=(FAKE,)),
    _row(67, "controller_interrupted", "the controller is ended by SIGINT in motion and started again", _TAIL,
         "rest; DISARMED, the fingers keep what they have", (None, 1.0), end_controller(signal.SIGINT),
         graphs=(FAKE,)),
    _row(68, "controller_stands_still", "the controller's process is stopped for a second", _TAIL,
         "rest; HOLD when it goes on", (0.5, 1.0), controller_stands_still, graphs=(FAKE,)),
)  # fmt: skip
