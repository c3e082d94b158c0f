# SPDX-License-Identifier: Apache-2.0
"""Rows 81 to 84: episodes that end at a bad moment. The fake Franka announces them; its arm goes home first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import FAKE, Measured, make_row, must
from physgen_control.messages import topics
from physgen_control.types import AckResult, EpisodePhase, Fault
from physgen_msgs.srv import ResetEnv


@contextmanager
def episode(rig: Rig, steps: int) -> Iterator[str]:
    """Run an episode of so many control steps in which the policy moves the arm; yield its id."""
    probe = rig.probe
    probe.playing = False
    probe.rest(time.monotonic())
    answer = probe.call(ResetEnv, topics.RESET_ENV, ResetEnv.Request(seed=1, init_state=-1, max_steps=steps))
    must(answer.success, f"no episode: {answer.message}")
    identity = str(answer.episode_id)
    probe.wait_for(lambda: running(rig) == identity, "the episode", 20.0)
    probe.writer.episode_id = identity
    try:
        rig.make_moving(steps * 0.03)
        yield identity
    finally:
        probe.gripper = 1.0
        probe.writer.episode_id = ""
        if running(rig):  # a longer one must not last into the next row
            probe.writer.episode_id = running(rig)
            probe.playing = True
            probe.wait_for(lambda: not running(rig), "the end of the episode", steps * 0.05 + 20.0)
            probe.writer.episode_id = ""


def running(rig: Rig) -> str:
    """Return the id of the running episode."""
    newest = rig.probe.episode
    return str(newest.episode_id) if newest is not None and newest.phase == EpisodePhase.RUNNING else ""


def end(rig: Rig) -> float:
    """Wait for the end of the episode; return the steady time at which it was announced [s]."""
    rig.probe.wait_for(lambda: not running(rig), "the end of the episode", 30.0)
    return time.monotonic()


def ends_with_object(rig: Rig) -> Measured:
    """The step limit ends the episode while the hand is closed."""
    probe = rig.probe
    with episode(rig, 60):
        probe.gripper = -1.0
        probe.wait_for(lambda: width(rig) < 0.01, "closed fingers", 8.0)
        t0 = end(rig)
        probe.playing = False
        probe.writer.episode_id = ""
        rest = probe.rest(t0)
        probe.spin(1.0)
        must(width(rig) < 0.01, f"the fingers opened to {width(rig):.3f} m")
        probe.gripper = 1.0
        return Measured(None, rest)


def width(rig: Rig) -> float:
    """Return the measured opening of the hand [m]."""
    return float(sum(rig.probe.joints.position[7:9]))


def chunk_after_the_end(rig: Rig) -> Measured:
    """The policy goes on with chunks of the episode that ended."""
    probe = rig.probe
    with episode(rig, 40) as identity:
        probe.writer.episode_id = identity
        end(rig)
        probe.playing = False
        probe.spin(0.1)  # until the controller has heard of it too; topics have no order among each other
        t0 = time.monotonic()
        number = probe.send(episode_id=identity)
        detected = probe.answered(t0, number, (AckResult.OUT_OF_ORDER,))
        return Measured(detected, probe.rest(t0))


def chunk_of_none(rig: Rig) -> Measured:
    """A chunk of no episode while one runs."""
    probe = rig.probe
    with episode(rig, 60):
        t0 = time.monotonic()
        number = probe.send(episode_id="")
        return Measured(probe.answered(t0, number, (AckResult.OUT_OF_ORDER,)))


def policy_dies_in_episode(rig: Rig) -> Measured:
    """The policy falls silent in an episode."""
    probe = rig.probe
    with episode(rig, 80):
        probe.playing = False
        t0 = time.monotonic()
        return Measured(probe.held(t0, Fault.POLICY_LATE), probe.rest(t0))


_row = partial(make_row, graphs=(FAKE,), may_refuse=True)
ROWS = (
    _row(81, "episode_ends_with_object", "an episode ends while the hand holds something", "phase of the episode",
         "the arm rests, the fingers keep what they have", (None, 0.9), ends_with_object),
    _row(82, "chunk_of_ended_episode", "the policy goes on after the end of its episode", "episode id",
         "refused; the arm rests", (0.3, 0.6), chunk_after_the_end),
    _row(83, "chunk_of_no_episode", "a chunk of no episode while one runs", "episode id", "refused", (0.3, None),
         chunk_of_none),
    _row(84, "policy_silent_in_episode", "the policy falls silent in an episode", "no action left at a control period",
         "HOLD, POLICY_LATE", (0.7, 1.0), policy_dies_in_episode),
)  # fmt: skip
