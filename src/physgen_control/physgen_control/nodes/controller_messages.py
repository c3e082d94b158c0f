# SPDX-License-Identifier: Apache-2.0
"""The messages that only a controller writes: its status, its trajectories, and its answer to a chunk that is none."""

from __future__ import annotations

from typing import Any

from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from physgen_control.controller.snapshot import SafetySnapshot
from physgen_control.nodes.conversions import ConversionError, make_header, ns_to_duration, ns_to_stamp
from physgen_control.types import AckResult
from physgen_msgs.msg import ActionChunk, ChunkAck, SafetyStatus


def safety_status_to_msg(status: SafetySnapshot, stamp_ns: int) -> SafetyStatus:
    """Return the status as a message, stamped with ROS time [ns]."""
    return SafetyStatus(
        header=make_header(stamp_ns, ""),
        state=int(status.state),
        faults=int(status.faults),
        estop=status.estop,
        deadman=status.deadman,
        intervention=status.intervention,
        state_age=float(status.state_age),
        last_chunk_seq=max(0, status.last_chunk_seq),
        detail=status.detail,
    )


def trajectory_to_msg(trajectory: Any, prefix: str, *, stamped: bool) -> JointTrajectory:
    """Return a trajectory for PREFIX_joint1..7; a stamped start makes its delay harmless, stamp 0 means on arrival."""
    message = JointTrajectory(joint_names=[f"{prefix}_joint{index}" for index in range(1, 8)])
    if stamped:
        message.header.stamp = ns_to_stamp(trajectory.start_ns)
    rows = zip(
        trajectory.times,
        trajectory.positions,
        trajectory.velocities,
        trajectory.accelerations,
        strict=True,
    )
    for time, positions, velocities, accelerations in rows:
        message.points.append(
            JointTrajectoryPoint(
                positions=positions.tolist(),
                velocities=velocities.tolist(),
                accelerations=accelerations.tolist(),
                time_from_start=ns_to_duration(round(time * 1e9)),
            )
        )
    return message


def unreadable_chunk_ack(message: ActionChunk, error: ConversionError, stamp_ns: int) -> ChunkAck:
    """Return the answer to a chunk that is none, stamped with ROS time [ns], so that its sender reads why."""
    return ChunkAck(
        header=make_header(stamp_ns, ""),
        session_id=message.session_id,
        episode_id=message.episode_id,
        chunk_seq=message.chunk_seq,
        result=int(AckResult.BAD_SHAPE),
        detail=str(error),
    )
