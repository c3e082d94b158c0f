# SPDX-License-Identifier: Apache-2.0
"""Rows 110 to 119: a learned policy whose process or whose cameras fail. The policy of the graph moves the arm."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import LEARNED, Measured, make_row, must
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.images import image_to_msg
from physgen_control.types import Fault, SafetyState
from physgen_msgs.msg import PolicyStatus
from physgen_msgs.srv import SetInstruction

POLICY = "policy_node"
DAY_NS = 86_400 * 1_000_000_000
FRAME = "camera_{}_color_optical_frame"
SIZE = 128
"""Edge of the images of the graph [pixels]."""


class PolicyListener:
    """What the policy says, as a context manager."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.said: list[tuple[float, str]] = []

    def __enter__(self) -> PolicyListener:
        node = self.rig.probe.node
        self._subscription = node.create_subscription(
            PolicyStatus, topics.POLICY_STATUS, self._on_status, qos.LATCHED
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.rig.probe.node.destroy_subscription(self._subscription)

    def _on_status(self, message: Any) -> None:
        self.said.append((time.monotonic(), str(message.detail)))

    def wait(self, words: str, since_s: float) -> float:
        """Return the seconds until the policy said these words.

        Raises:
            RowFailedError: It did not in time.
        """

        def found() -> float | None:
            return next((t for t, detail in self.said if t >= since_s and words in detail), None)

        self.rig.probe.wait_for(found, f"a status of the policy with {words!r}; it said {self.said[-1:]}")
        arrived_s = found()
        assert arrived_s is not None
        return arrived_s - since_s


def goes_on(rig: Rig, since_s: float, timeout_s: float = 20.0) -> float:
    """Return the seconds until an action of the policy was applied after that time.

    Raises:
        RowFailedError: None was in time.
    """

    def found() -> float | None:
        return next((at for at, a in rig.probe.applied if at > since_s and a.source == 1), None)

    rig.probe.wait_for(found, "an action of the policy", timeout_s)
    applied_s = found()
    assert applied_s is not None
    return applied_s - since_s


def killed(rig: Rig) -> Measured:
    """The policy's process dies and is started again at once."""
    probe = rig.probe
    rig.kill(POLICY)
    t0 = time.monotonic()
    rig.wait_dead(POLICY)
    rig.restart(POLICY)
    detected, rest = probe.held(t0, Fault.POLICY_LATE), probe.rest(t0)
    probe.wait_for(
        lambda: probe.acks and probe.acks[-1][0] > t0 + rest, "a chunk of the restarted policy", 90.0
    )
    t1 = time.monotonic()
    took = goes_on(rig, t1)
    must(took < 2.0, f"the first action came {took:.1f} s after the first chunk")
    return Measured(detected, rest, f"loaded after {t1 - t0:.0f} s, moved within 2 s of its first chunk")


def ended(rig: Rig) -> Measured:
    """Ctrl-C ends the policy's process only."""
    probe = rig.probe
    rig.kill(POLICY, signal.SIGINT)
    t0 = time.monotonic()
    detected, rest = probe.held(t0, Fault.POLICY_LATE), probe.rest(t0)
    rig.wait_dead(POLICY)
    rig.restart(POLICY)
    return Measured(detected, rest)


def hangs(rig: Rig) -> Measured:
    """The policy's process is stopped for three seconds, then goes on."""
    probe = rig.probe
    rig.kill(POLICY, signal.SIGSTOP)
    t0 = time.monotonic()
    try:
        detected, rest = probe.held(t0, Fault.POLICY_LATE), probe.rest(t0)
        probe.spin(max(0.0, t0 + 3.0 - time.monotonic()))
    finally:
        rig.kill(POLICY, signal.SIGCONT)
    took = goes_on(rig, time.monotonic())
    return Measured(detected, rest, f"moved {took:.1f} s after it went on")


def world_dies(rig: Rig) -> Measured:
    """The simulator's process dies; a new one begins a new episode."""
    probe = rig.probe
    rig.kill(rig.world)
    t0 = time.monotonic()
    detected = probe.detect(t0, lambda said: said.state is not SafetyState.ARMED, "anything but ARMED")
    rig.wait_dead(rig.world)
    rig.restart(rig.world)
    return Measured(detected)


def wrong_image(camera: str, words: str = "", **changes: Any) -> Callable[[Rig], Measured]:
    """The injection of wrong images of one camera for four seconds; the policy must say these words and go on."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        publisher = probe.node.create_publisher(
            type(_image(0)), topics.image_topic(camera), qos.SENSOR_WRITER
        )
        with PolicyListener(rig) as policy:
            try:
                probe.wait_for(lambda: publisher.get_subscription_count() > 0, "a listener")
                t0 = time.monotonic()
                while time.monotonic() < t0 + 4.0:
                    publisher.publish(_image(probe.now_ns, **({"frame": FRAME.format(camera)} | changes)))
                    probe.spin(0.2)
                detected = policy.wait(words, t0) if words else None
            finally:
                probe.node.destroy_publisher(publisher)
            took = goes_on(rig, time.monotonic())
        return Measured(detected, None, f"the policy acted {took:.1f} s after the last wrong image")

    return inject


def _image(
    now_ns: int, *, frame: str = "", size: int = SIZE, ahead_ns: int = 0, encoding: str = "rgb8"
) -> Any:
    message = image_to_msg(np.full((size, size, 3), 90, np.uint8), now_ns + ahead_ns, frame)
    message.encoding = encoding
    return message


def no_instruction(rig: Rig) -> Measured:
    """An instruction without a word is refused, and the old one stays."""
    t0 = time.monotonic()
    answer = rig.probe.call(SetInstruction, topics.SET_INSTRUCTION, SetInstruction.Request(instruction=" "))
    took = time.monotonic() - t0
    must(not answer.success, "an empty instruction was taken")
    goes_on(rig, t0)
    return Measured(took)


_row = partial(make_row, graphs=(LEARNED,))
_BEAT, _VIEW = "heartbeat (1 s), or no action left", "camera and size of every picture (view_check.py)"
_LATE = "HOLD, POLICY_LATE; the restart is obeyed"
ROWS = (
    _row(110, "learned_killed", "the policy's process is killed and started again", _BEAT, _LATE, (2.0, 2.0), killed),
    _row(111, "learned_interrupted", "the policy's process is ended by SIGINT", _BEAT, _LATE, (2.0, 2.0), ended),
    _row(112, "learned_hangs", "the policy's process stands still for three seconds", _BEAT,
         "HOLD, POLICY_LATE; on with the next chunk", (2.0, 2.0), hangs),
    _row(113, "world_killed", "the simulator's process is killed", "heartbeat (1 s), or age of the state",
         "HOLD, STATE_STALE", (2.0, None), world_dies),
    _row(114, "picture_of_tomorrow", "a picture is stamped a day ahead", "age of every picture",
         "ignored; the policy goes on", (None, None), wrong_image("fixed", ahead_ns=DAY_NS)),
    _row(115, "picture_changes_size", "a camera changes its size", _VIEW, "the policy names the camera and goes on",
         (5.0, None), wrong_image("wrist", "wrist camera changed its size", size=64)),
    _row(116, "cameras_swapped", "a camera publishes on the other's topic", _VIEW,
         "the policy names both cameras and goes on", (5.0, None),
         wrong_image("fixed", "the cameras are swapped", frame=FRAME.format("wrist"))),
    _row(117, "picture_encoding", "a picture in an unknown encoding", "conversion of every picture",
         "the policy names the camera and goes on", (5.0, None),
         wrong_image("fixed", "fixed camera", encoding="77UC9")),
    _row(118, "no_instruction", "an instruction without a word", "the request", "refused", (0.5, None), no_instruction),
)  # fmt: skip
