# SPDX-License-Identifier: Apache-2.0
"""Rows 71 to 80: a person takes over, lets go, or the device in the hand fails."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from physgen_bringup.chaos.nodes.outcomes import goes_on
from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import FAKE, MANISKILL, Measured, make_row, must
from physgen_control.messages import topics
from physgen_control.types import AckResult, SafetyState, Source

DOWN, UP = [1, 0, 0], [0, 0, 0]
LARGEST_STEP = 0.0125
"""Translation of one action [m] that the limits of the real arm allow: 0.25 m/s for 0.05 s."""


def sideways_twist(rig: Rig, speed: float = 0.06) -> list[float]:
    """Return a twist along y towards the middle of the table, speed in m/s."""
    y = float(rig.probe.scene.tcp_pose.position[1]) if rig.probe.scene is not None else 0.0
    return [0.0, -speed if y > 0 else speed, 0.0, 0.0, 0.0, 0.0]


def actions_since(rig: Rig, since_s: float, source: Source) -> list[Any]:
    """Return the applied actions of a source since then."""
    return [action for at, action in rig.probe.applied if at > since_s and action.source == source]


def in_command(rig: Rig) -> float:
    """Let the person take over and the policy fall silent; return the seconds until the status says so."""
    probe = rig.probe
    probe.device.twist = sideways_twist(rig)
    probe.device.buttons = DOWN
    t0 = time.monotonic()
    took = probe.detect(t0, lambda said: said.intervention, "a person in command", 3.0)
    probe.wait_for(lambda: len(actions_since(rig, t0, Source.TELEOP)) > 6, "the person's motion")
    return took


def take_over(rig: Rig) -> Measured:
    """Deadman and twist while the policy moves the arm: not one action of the policy any more."""
    probe = rig.probe
    took = in_command(rig)
    t1 = time.monotonic()
    probe.spin(0.8)
    policy = actions_since(rig, t1, Source.POLICY)
    must(not policy, f"{len(policy)} actions of the policy were applied while a person was in command")
    refused = [ack for at, ack in probe.acks if at > t1 and ack.result is AckResult.TELEOP_ACTIVE]
    must(refused, "the policy's chunks were not refused")
    probe.device.buttons = UP
    probe.device.twist = None
    probe.wait_for(rig.moving, "the policy's motion after the release", 5.0)
    return Measured(took)


def take_over_with_object(rig: Rig) -> Measured:
    """The hand is closed when a person takes over: it stays closed."""
    probe = rig.probe
    probe.gripper = -1.0
    probe.wait_for(lambda: probe.applied and probe.applied[-1][1].applied[6] < 0, "a closed hand")
    probe.spin(0.3)
    t0 = time.monotonic()
    took = in_command(rig)
    opened = [action for action in actions_since(rig, t0, Source.TELEOP) if action.applied[6] > 0]
    must(not opened, "the fingers were opened by the takeover")
    return Measured(took)


def release(rig: Rig) -> Measured:
    """The deadman is released, the stick still pushed."""
    in_command(rig)
    rig.probe.playing = False
    rig.probe.device.buttons = UP
    return ends(rig)


def device_dies(rig: Rig) -> Measured:
    """Neither deadman nor twist come any more, both were down last."""
    in_command(rig)
    rig.probe.playing = False
    rig.probe.device.fall_silent()
    return ends(rig)


def twist_ends(rig: Rig) -> Measured:
    """The deadman is held, the twists end."""
    in_command(rig)
    rig.probe.playing = False
    rig.probe.device.twist = None
    return ends(rig)


def twist_nan(rig: Rig) -> Measured:
    """Twists of NaN with the deadman down."""
    in_command(rig)
    rig.probe.playing = False
    rig.probe.device.twist = [float("nan")] * 6
    return ends(rig)


def no_buttons(rig: Rig) -> Measured:
    """A device without the deadman's button."""
    in_command(rig)
    rig.probe.playing = False
    rig.probe.device.buttons = []
    return ends(rig)


def ends(rig: Rig) -> Measured:
    """Return the seconds until nobody is in command, and until rest."""
    t0 = time.monotonic()
    detected = rig.probe.detect(t0, lambda said: not said.intervention, "the end of the takeover", 5.0)
    return Measured(detected, rig.probe.rest(t0))


def twist_huge(rig: Rig) -> Measured:
    """A twist of 100 m/s moves no faster than the limits allow."""
    probe = rig.probe
    probe.playing = False
    probe.device.twist = sideways_twist(rig, 100.0)
    probe.device.buttons = DOWN
    t0 = time.monotonic()
    probe.wait_for(lambda: len(actions_since(rig, t0, Source.TELEOP)) > 4, "the person's motion")
    steps = [float(np.linalg.norm(a.applied[:3])) for a in actions_since(rig, t0, Source.TELEOP)]
    must(max(steps) < LARGEST_STEP + 1e-5, f"a step of {max(steps):.4f} m was applied")
    probe.device.buttons = UP
    return ends(rig)


def twist_without_deadman(rig: Rig) -> Measured:
    """Twists alone change nothing."""
    probe = rig.probe
    t0 = time.monotonic()
    probe.device.twist = sideways_twist(rig)
    probe.spin(0.8)
    must(not actions_since(rig, t0, Source.TELEOP), "a twist without the deadman was obeyed")
    goes_on(rig, t0)
    return Measured()


def tap_while_settling(rig: Rig) -> Measured:
    """The deadman is tapped right after arming."""
    probe = rig.probe
    probe.trigger(topics.HOLD)
    probe.playing = False
    rig.make_armed()
    probe.device.twist = sideways_twist(rig)
    probe.device.buttons = DOWN
    probe.spin(0.12)
    probe.device.buttons = UP
    probe.device.twist = None
    t0 = time.monotonic()
    rest = probe.rest(t0)
    must(probe.state in (SafetyState.ARMED, SafetyState.HOLD), f"the state is {probe.said}")
    probe.playing = True
    probe.wait_for(rig.moving, "the policy's motion afterwards", 8.0)
    return Measured(None, rest)


_row = partial(make_row, graphs=(FAKE, MANISKILL))
_DEVICE = "deadman and twist"
_REST = "the arm comes to rest, HOLD"
ROWS = (
    _row(71, "takeover", "a person takes over from the policy", _DEVICE, "TELEOP; the policy's chunks are refused",
         (0.3, None), take_over),
    _row(72, "takeover_with_object", "a person takes over while the hand is closed", _DEVICE,
         "the fingers keep what they have", (0.3, None), take_over_with_object),
    _row(73, "deadman_released", "the deadman is released, the stick still pushed", _DEVICE, _REST, (0.3, 0.6),
         release),
    _row(74, "device_dies", "the device dies with the deadman down", "deadman_timeout, teleop_timeout", _REST,
         (0.6, 0.9), device_dies),
    _row(75, "twists_end", "the twists end, the deadman is held", "teleop_timeout", _REST, (0.6, 0.9), twist_ends),
    _row(76, "twist_nan", "twists of NaN", "checks on arrival, teleop_timeout", _REST, (0.6, 0.9), twist_nan),
    _row(77, "device_without_buttons", "a device without the deadman's button", _DEVICE, _REST, (0.3, 0.6),
         no_buttons),
    _row(78, "twist_huge", "a twist of 100 m/s", "limits of every action", "clipped to the limits of an action",
         (0.3, 0.8), twist_huge, graphs=(FAKE,)),
    _row(79, "twist_without_deadman", "twists without a deadman", _DEVICE, "nothing; the policy goes on",
         (None, None), twist_without_deadman),
    _row(80, "tap_while_settling", "the deadman is tapped while the arm settles after arming", _DEVICE,
         "rest within the limits, and on with the policy", (None, 0.8), tap_while_settling),
)  # fmt: skip
