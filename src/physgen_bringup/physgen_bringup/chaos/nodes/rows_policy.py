# SPDX-License-Identifier: Apache-2.0
"""Rows 1 to 9: the policy is silent, dies, comes twice, or floods."""

from __future__ import annotations

import time
from functools import partial

from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import FAKE, MANISKILL, Measured, make_row, must
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.types import AckResult, Fault, SafetyState
from physgen_msgs.msg import ActionChunk


def silent(rig: Rig) -> Measured:
    """No further chunk."""
    rig.probe.playing = False
    t0 = time.monotonic()
    return Measured(rig.probe.held(t0, Fault.POLICY_LATE), rig.probe.rest(t0))


def silent_then_back(rig: Rig) -> Measured:
    """No chunk for a second, then they come again: motion without anybody's help."""
    probe = rig.probe
    probe.playing = False
    t0 = time.monotonic()
    detected = probe.held(t0, Fault.POLICY_LATE)
    probe.spin(1.0)
    probe.playing = True
    t1 = time.monotonic()
    probe.wait_for(rig.moving, "motion by the next chunk", 3.0)
    return Measured(detected, None, f"moved again within {time.monotonic() - t1:.1f} s of the next chunk")


def killed_and_restarted(rig: Rig) -> Measured:
    """A policy in a process of its own is killed and another is started at once."""
    probe = rig.probe
    probe.disconnect()
    with rig.helping("policy") as name:
        probe.wait_for(
            lambda: probe.acks and probe.acks[-1][1].session_id != probe.writer.session, "the helper"
        )
        rig.make_armed()
        probe.wait_for(rig.moving, "motion by the helper")
        rig.kill(name)
        t0 = time.monotonic()
        detected, rest = probe.held(t0, Fault.POLICY_LATE), probe.rest(t0)
        rig.wait_dead(name)
        rig.restart(name)
        t1 = time.monotonic()
        probe.wait_for(rig.moving, "motion by the restarted policy", 20.0)
        took = time.monotonic() - t1
    return Measured(detected, rest, f"its restart moved the arm within {took:.0f} s")


def second_publisher(rig: Rig) -> Measured:
    """Another publisher appears on the chunk topic and says nothing."""
    node = rig.probe.node
    t0 = time.monotonic()
    publisher = node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
    try:
        detected = rig.probe.held(t0, Fault.MULTIPLE_PUBLISHERS)
        return Measured(detected, rig.probe.rest(t0))
    finally:
        node.destroy_publisher(publisher)
        rig.probe.wait_for(
            lambda: not rig.probe.said.faults & Fault.MULTIPLE_PUBLISHERS, "one publisher again", 10.0
        )


def second_policy(rig: Rig) -> Measured:
    """A second policy that sends at once: none of its chunks may move the arm."""
    probe = rig.probe
    publisher = probe.node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
    t0 = time.monotonic()
    try:
        message = probe.writer.message(probe.actions(), probe.now_ns, probe.next_step, session_id="another")
        probe.wait_for(lambda: publisher.get_subscription_count() > 0, "a listener")
        t0 = time.monotonic()
        publisher.publish(message)
        detected = probe.answered(t0, int(message.chunk_seq), (AckResult.NOT_ARMED,))
        probe.held(t0 - 1.0, Fault.MULTIPLE_PUBLISHERS)  # the look at 10 Hz may have been sooner
        return Measured(detected, probe.rest(t0))
    finally:
        probe.node.destroy_publisher(publisher)
        probe.wait_for(lambda: not probe.said.faults & Fault.MULTIPLE_PUBLISHERS, "one publisher again", 10.0)


def arming_with_two(rig: Rig) -> Measured:
    """Arming while two publish chunks."""
    probe = rig.probe
    probe.playing = False
    probe.trigger(topics.HOLD)
    publisher = probe.node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
    try:
        probe.wait_for(lambda: probe.said.faults & Fault.MULTIPLE_PUBLISHERS, "two publishers")
        return refused_arming(rig, "publish")
    finally:
        probe.node.destroy_publisher(publisher)
        probe.wait_for(lambda: not probe.said.faults & Fault.MULTIPLE_PUBLISHERS, "one publisher again", 10.0)


def arming_without_policy(rig: Rig) -> Measured:
    """Arming while nobody publishes chunks."""
    probe = rig.probe
    probe.disconnect()
    probe.switch(topics.SET_ARMED, False)
    probe.spin(0.5)
    try:
        return refused_arming(rig, "publishes action chunks")
    finally:
        probe.connect()
        probe.spin(0.3)


def refused_arming(rig: Rig, words: str) -> Measured:
    """Arming must be refused with a reason that holds these words, and nothing moves."""
    t0 = time.monotonic()
    answer = rig.probe.arm()
    took = time.monotonic() - t0
    must(not answer.success, "the controller armed itself")
    must(words in answer.message, f"the reason does not say {words!r}: {answer.message}")
    return Measured(took, rig.probe.rest(t0))


def flood(rig: Rig) -> Measured:
    """The policy sends a thousand chunks a second; the operator asks for a hold meanwhile."""
    probe = rig.probe
    probe.disconnect()
    with rig.helping("flood"):
        probe.wait_for(
            lambda: probe.acks and probe.acks[-1][1].session_id != probe.writer.session, "the flood"
        )
        rig.make_armed()
        probe.spin(2.0)
        t0 = time.monotonic()
        probe.trigger(topics.HOLD)
        detected = probe.detect(t0, lambda said: said.state is SafetyState.HOLD, "HOLD in the flood")
        return Measured(detected, probe.rest(t0))


_row = partial(make_row, graphs=(FAKE, MANISKILL))
ROWS = (
    _row(1, "policy_silent", "the policy sends no further chunk", "no action left at a control period",
         "HOLD, POLICY_LATE", (0.7, 1.0), silent),
    _row(2, "policy_silent_and_back", "the policy pauses for a second", "no action left at a control period",
         "HOLD, POLICY_LATE, and on with the next chunk", (0.7, None), silent_then_back),
    _row(3, "policy_killed", "the policy's process is killed and started again",
         "no action left; its heart beats no more", "HOLD, POLICY_LATE; the restart is obeyed",
         (0.9, 1.2), killed_and_restarted,
         may_refuse=True),  # a process starts beside the fake driver, which may read a trajectory after its end
    _row(4, "second_publisher", "a second publisher of chunks appears", "publisher count at 10 Hz",
         "HOLD, MULTIPLE_PUBLISHERS", (0.5, 1.0), second_publisher),
    _row(5, "second_policy", "a second policy sends a chunk at once", "publisher count with every chunk",
         "its chunk is refused, HOLD, MULTIPLE_PUBLISHERS", (0.3, 0.8), second_policy),
    _row(6, "arming_with_two_policies", "arming while two publish chunks", "preconditions of arming",
         "refused with the reason", (0.5, 1.0), arming_with_two),
    _row(7, "arming_without_policy", "arming while nobody publishes chunks", "preconditions of arming",
         "refused with the reason", (0.5, 1.0), arming_without_policy),
    _row(8, "flood_of_chunks", "the policy sends 1000 chunks a second and the operator asks for a hold",
         "/physgen/hold", "HOLD until armed again", (0.6, 1.2), flood,
         may_refuse=True),  # two hundred trajectories a second: the fake driver reads some after their end
)  # fmt: skip
