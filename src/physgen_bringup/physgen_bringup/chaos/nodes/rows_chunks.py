# SPDX-License-Identifier: Apache-2.0
"""Rows 10 to 39: chunks that must not be played. A right chunk follows each and is accepted, so that nothing stuck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import FAKE, MANISKILL, Measured, Row, make_row, must
from physgen_control.types import AckResult, ActionSpace, DeltaReference, GripperMode

S_NS = 1_000_000_000
Sender = Callable[[Rig], int]


def refused(sender: Sender, *results: AckResult) -> Callable[[Rig], Measured]:
    """Return the injection of a chunk that is answered with one of these results and never applied."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        t0 = time.monotonic()
        number = sender(rig)
        took = probe.answered(t0, number, results)
        t1 = time.monotonic()
        probe.wait_for(
            lambda: any(at > t1 and ack.result is AckResult.ACCEPTED for at, ack in probe.acks),
            "a right chunk accepted afterwards",
            3.0,
        )
        played = [a for at, a in probe.applied if at > t0 and a.source == 1 and a.chunk_seq == number]
        must(not played, f"{len(played)} actions of the refused chunk were applied")
        return Measured(took)

    return inject


def changed(**changes: Any) -> Sender:
    """Return the sender of a chunk with other fields."""
    return lambda rig: rig.probe.send(**changes)


def spoiled(spoil: Callable[[Any], None]) -> Sender:
    """Return the sender of a chunk whose message is changed after it was built."""
    return lambda rig: rig.probe.send(spoil=spoil)


def filled(value: float, shape: tuple[int, ...] = (8, 7), at: tuple[int, ...] | None = None) -> Sender:
    """Return the sender of a chunk of zeros with this value everywhere, or at one place."""

    def send(rig: Rig) -> int:
        actions = np.zeros(shape, np.float32)
        actions[..., -1] = 1.0
        if at is None:
            actions[..., :6] = value
        else:
            actions[at] = value
        return rig.probe.send(actions)

    return send


def put(name: str, value: Any) -> Sender:
    """Return the sender of a chunk whose message has another value in one field."""
    return spoiled(lambda message: setattr(message, name, value))


def aged(seconds: float, field: str = "observation_stamp_ns") -> Sender:
    """Return the sender of a chunk with one stamp moved by so many seconds."""

    def send(rig: Rig) -> int:
        changes: dict[str, Any] = {field: rig.probe.now_ns + round(seconds * S_NS)}
        return rig.probe.send(**changes)

    return send


def repeated_number(rig: Rig) -> int:
    """A number that was accepted already, of a chunk that is not played any more."""
    probe = rig.probe

    def accepted() -> list[int]:
        mine = [ack for _, ack in probe.acks if ack.session_id == probe.writer.session]
        return [ack.chunk_seq for ack in mine if ack.result is AckResult.ACCEPTED]

    probe.wait_for(lambda: len(accepted()) > 3, "accepted chunks")
    newest, probe.writer.sent = probe.writer.sent, accepted()[-3] - 1
    number = probe.send()
    probe.writer.sent = newest
    return number


def old_session(rig: Rig) -> int:
    """The session that a restarted policy replaced goes on."""
    probe = rig.probe
    before = probe.writer.session
    probe.renew_session()
    t0 = time.monotonic()
    number = probe.send()
    probe.answered(t0, number, (AckResult.ACCEPTED,))
    probe.writer.sent = 100_000
    return probe.send(session_id=before)


def unknown_episode(rig: Rig) -> Measured:
    """A chunk of an episode that nobody announced waits, and is never played."""
    probe = rig.probe
    t0 = time.monotonic()
    number = probe.send(episode_id="nobody announced this")
    took = probe.answered(t0, number, (AckResult.ACCEPTED,))
    last = next(ack for _, ack in reversed(probe.acks) if ack.chunk_seq == number)
    must("Waiting for episode" in last.detail, f"the answer was: {last.detail}")
    probe.spin(0.8)
    played = [a for at, a in probe.applied if at > t0 and a.source == 1 and a.chunk_seq == number]
    must(not played, f"{len(played)} actions of the chunk were applied")
    return Measured(took)


def off_step(rig: Rig) -> int:
    """The chunk was made for control steps that are long over."""
    return rig.probe.send(base_step=max(0, rig.probe.next_step - 60))


def _row(
    number: int,
    name: str,
    hazard: str,
    sender: Sender,
    *results: AckResult,
    detection_s: float = 0.3,
    graphs: tuple[str, ...] = (FAKE, MANISKILL),
) -> Row:
    return make_row(
        number,
        name,
        hazard,
        "checks of every chunk (gate.py)",
        f"ChunkAck {' or '.join(r.name for r in results)} with a sentence; nothing of it is played",
        (detection_s, None),
        refused(sender, *results),
        graphs=graphs,
    )


R = AckResult
_NAN, _INF = float("nan"), float("inf")
ROWS = (
    _row(10, "chunk_nan", "NaN in a chunk", filled(_NAN, at=(3, 1)), R.NONFINITE),
    _row(11, "chunk_inf", "infinity in a chunk", filled(_INF, at=(7, 0)), R.NONFINITE),
    _row(12, "chunk_nan_in_lookahead", "NaN in a chunk that would never be played",
         filled(_NAN, (3, 8, 7), at=(2, 0, 0)), R.NONFINITE),
    _row(13, "chunk_six_numbers", "six numbers per action", filled(0.0, (8, 6)), R.BAD_SHAPE),
    _row(14, "chunk_17_actions", "17 actions, one more than max_horizon", filled(0.0, (17, 7)), R.BAD_SHAPE),
    _row(15, "chunk_700_actions", "700 actions", filled(0.0, (700, 7)), R.BAD_SHAPE),
    _row(16, "chunk_30000_actions", "30000 actions", filled(0.0, (30000, 7)), R.BAD_SHAPE, detection_s=0.6),
    _row(17, "chunk_9_lookahead", "nine chunks in a prediction", filled(0.0, (9, 8, 7)), R.BAD_SHAPE),
    _row(18, "chunk_gross", "a step of one metre", filled(1.0, at=(7, 0)), R.STEP, R.WORKSPACE),
    _row(19, "chunk_gross_turn", "a turn of three radians in a step", filled(3.0, at=(7, 5)), R.STEP),
    _row(20, "chunk_gross_gripper", "a gripper number of 50", filled(50.0, at=(7, 6)), R.STEP),
    _row(21, "chunk_too_often_clipped", "every action somewhat too large", filled(0.018), R.STEP, graphs=(FAKE,)),
    _row(22, "chunk_wrong_frame", "actions in the camera's frame", changed(frame_id="camera_fixed"), R.BAD_SHAPE),
    _row(23, "chunk_unknown_space", "action_space 77", put("action_space", 77), R.BAD_SHAPE),
    _row(24, "chunk_joint_velocity", "joint velocities instead of deltas",
         changed(action_space=ActionSpace.JOINT_VELOCITY), R.BAD_SHAPE),
    _row(25, "chunk_widths", "gripper widths instead of signs", changed(gripper_mode=GripperMode.WIDTH_M),
         R.BAD_SHAPE),
    _row(26, "chunk_anchor_deltas", "deltas relative to the observation",
         changed(delta_reference=DeltaReference.CHUNK_ANCHOR), R.BAD_SHAPE),
    _row(27, "chunk_schema", "schema version 9", put("schema_version", 9), R.BAD_SHAPE),
    _row(28, "chunk_lengths_disagree", "a horizon that the numbers do not fill", put("horizon", 9), R.BAD_SHAPE),
    _row(29, "chunk_empty", "no numbers at all", put("num_chunks", 0), R.BAD_SHAPE),
    _row(30, "chunk_no_steps", "execute_steps 0", put("execute_steps", 0), R.BAD_SHAPE),
    _row(31, "chunk_wrong_rate", "actions for 10 Hz", changed(step_period_ns=100_000_000), R.BAD_SHAPE),
    _row(32, "chunk_repeated", "a sequence number again", repeated_number, R.OUT_OF_ORDER),
    _row(33, "chunk_old_session", "a session that was replaced goes on", old_session, R.OUT_OF_ORDER),
    _row(34, "chunk_old_observation", "an observation of a second ago", aged(-1.0), R.STALE_OBSERVATION),
    _row(35, "chunk_future_observation", "an observation of tomorrow", aged(86400.0), R.STALE_OBSERVATION),
    _row(36, "chunk_expired", "valid_until is over", aged(-0.5, "valid_until_ns"), R.EXPIRED),
    _row(37, "chunk_step_off", "a chunk for control steps that are over (pipelined execution)", off_step, R.EXPIRED,
         graphs=(MANISKILL,)),
    make_row(38, "chunk_unknown_episode", "a chunk of an episode that nobody announced", "episode id",
             "answered that it waits; nothing of it is played", (0.3, None), unknown_episode,
             graphs=(FAKE, MANISKILL)),
)  # fmt: skip
