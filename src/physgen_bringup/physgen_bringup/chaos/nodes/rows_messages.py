# SPDX-License-Identifier: Apache-2.0
"""Rows 85 to 97: messages that no node sends. Whoever gets them lives on, and the arm moves on."""

from __future__ import annotations

import array
import time
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Pose
from sensor_msgs.msg import Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from physgen_bringup.chaos.nodes.outcomes import goes_on, stays_held
from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import FAKE, MANISKILL, Measured, Row, make_row
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.types import SafetyState
from physgen_msgs.msg import AppliedAction, ChunkAck, EpisodeInfo, PolicyStatus, SafetyStatus, SimState


def sent(topic: str, profile: Any, message: Any) -> Callable[[Rig], Measured]:
    """The injection of one message, three times."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        publisher = probe.node.create_publisher(type(message), topic, profile)
        try:
            probe.spin(0.3)  # until every listener knows of it
            t0 = time.monotonic()
            for _ in range(3):
                publisher.publish(message)
                probe.spin(0.1)
        finally:
            probe.node.destroy_publisher(publisher)
        probe.spin(0.5)
        goes_on(rig, t0)
        return hold_works(rig)

    return inject


def stopped_by_the_monitor(message: Any) -> Callable[[Rig], Measured]:
    """The injection of a trajectory that the controller did not send: whoever watches motion stops the arm."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        publisher = probe.node.create_publisher(type(message), topics.JOINT_TRAJECTORY, qos.COMMAND)
        try:
            probe.spin(0.3)  # until every listener knows of it
            t0 = time.monotonic()
            publisher.publish(message)
            detected = probe.detect(t0, lambda said: said.state is SafetyState.HOLD, "HOLD by the monitor")
            rest = probe.rest(t0)
        finally:
            probe.node.destroy_publisher(publisher)
        stays_held(rig)
        return Measured(detected, rest)

    return inject


def hold_works(rig: Rig) -> Measured:
    """The operator's hold still works."""
    t0 = time.monotonic()
    rig.probe.trigger(topics.HOLD)
    detected = rig.probe.detect(t0, lambda said: said.state is SafetyState.HOLD, "HOLD")
    return Measured(detected, rig.probe.rest(t0))


def huge_image(rig: Rig) -> Measured:
    """A process publishes images of 100 MB on a camera's topic; the operator asks for a hold meanwhile."""
    with rig.helping("image"):
        rig.probe.spin(4.0)
        rig.make_armed()
        rig.probe.wait_for(rig.moving, "motion beside the pictures", 10.0)
        return hold_works(rig)


def _points(*rows: list[float]) -> JointTrajectory:
    names = [f"fr3_joint{index}" for index in range(1, 8)]
    at = Duration(nanosec=100_000_000)
    points = [JointTrajectoryPoint(positions=row, time_from_start=at) for row in rows]
    return JointTrajectory(joint_names=names, points=points)


_IGNORED = "ignored; no node ends, the arm goes on, /physgen/hold works"


def _row(number: int, name: str, hazard: str, inject: Callable[[Rig], Measured]) -> Row:
    detector = "conversion of the message, guards of every callback"
    return make_row(number, name, hazard, detector, _IGNORED, (0.3, 0.6), inject, graphs=(FAKE, MANISKILL))


def _monitored(number: int, name: str, hazard: str, inject: Callable[[Rig], Measured]) -> Row:
    detector, reaction = "motion monitor", "a stop, and HOLD until armed again"
    return make_row(
        number, name, hazard, detector, reaction, (0.3, 0.6), inject, graphs=(FAKE,), may_refuse=True
    )


_FLOATS = array.array("f", [0.0] * 7)
ROWS = (
    _row(85, "episode_phase_77", "an episode in phase 77",
         sent(topics.EPISODE_INFO, qos.LATCHED, EpisodeInfo(episode_id="x", phase=77))),
    _row(86, "episode_empty", "an empty EpisodeInfo", sent(topics.EPISODE_INFO, qos.LATCHED, EpisodeInfo())),
    _row(87, "applied_empty", "an empty AppliedAction", sent(topics.APPLIED_ACTION, qos.COMMAND, AppliedAction())),
    _row(88, "applied_source_77", "an AppliedAction of source 77",
         sent(topics.APPLIED_ACTION, qos.COMMAND,
              AppliedAction(source=77, raw=_FLOATS, applied=_FLOATS, action_space=1))),
    _row(89, "status_no_json", "a recorder status that is no JSON",
         sent(topics.RECORDER_STATUS, qos.LATCHED, String(data="{"))),
    _row(90, "safety_status_99", "a SafetyStatus of state 99",
         sent(topics.SAFETY_STATUS, qos.LATCHED, SafetyStatus(state=99))),
    _row(91, "ack_99", "a ChunkAck of result 99", sent(topics.CHUNK_ACK, qos.COMMAND, ChunkAck(result=99))),
    _row(92, "policy_status_empty", "an empty PolicyStatus",
         sent(topics.POLICY_STATUS, qos.LATCHED, PolicyStatus())),
    _row(93, "scene_without_poses", "a scene whose objects have no rotation",
         sent(topics.SIM_STATE, qos.SENSOR_WRITER, SimState(names=["a"], poses=[Pose()]))),
    _row(94, "image_empty", "an empty picture", sent(topics.image_topic("fixed"), qos.SENSOR_WRITER, Image())),
    _monitored(95, "trajectory_ragged", "a trajectory of points of unequal length from somebody else",
               stopped_by_the_monitor(_points([0.0] * 7, [0.0] * 3))),
    _monitored(96, "trajectory_nan", "a trajectory of NaN from somebody else",
               stopped_by_the_monitor(_points([float("nan")] * 7))),
    make_row(97, "image_of_100_mb", "pictures of 100 MB on a camera's topic", "/physgen/hold", _IGNORED, (0.6, 1.0),
             huge_image, graphs=(FAKE, MANISKILL)),
    _monitored(105, "trajectory_far", "a trajectory to a place far away in a tenth of a second from somebody else",
               stopped_by_the_monitor(_points([0.5, -0.3, 0.2, -1.5, 0.1, 1.2, 0.4]))),
)  # fmt: skip
