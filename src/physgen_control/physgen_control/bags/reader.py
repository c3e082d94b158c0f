# SPDX-License-Identifier: Apache-2.0
"""Read an episode bag into values, without ROS: what training, replay and the viewer start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.bags.errors import BagError
from physgen_control.bags.images import ImageStream
from physgen_control.bags.serialize import PICTURE_EVERY
from physgen_control.bags.source import DAMAGE, open_bag, read_metadata, store_of
from physgen_control.messages import read, topics
from physgen_control.types import (
    NUM_JOINTS,
    PICTURE_INTERVALS,
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    EpisodePhase,
    Float64Array,
    Pose,
    RobotState,
    SimState,
)

VALUE_TOPICS = (
    topics.EPISODE_INFO,
    topics.APPLIED_ACTION,
    topics.ACTION_CHUNK,
    topics.CHUNK_ACK,
    topics.SIM_STATE,
    topics.JOINT_STATES,
    topics.CURRENT_POSE,
)
"""Topics whose messages become values; images are read when they are asked for, the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTable:
    """Measured joints, in the order of their stamps."""

    stamps_ns: np.ndarray
    """int64 [n], ns of ROS time."""
    positions: Float64Array
    """[n, 7] in rad."""
    velocities: Float64Array
    """[n, 7] in rad/s."""
    gripper_width: Float64Array
    """[n], opening between the fingers in m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseTable:
    """Measured poses of the tool centre point in the robot base frame, in the order of their stamps."""

    stamps_ns: np.ndarray
    """int64 [n], ns of ROS time."""
    positions: Float64Array
    """[n, 3] in m."""
    quaternions: Float64Array
    """[n, 4], unit (x, y, z, w)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecording:
    """One recorded episode. Repeated messages (same stamp, step or sequence number) are kept once."""

    path: Path
    episode: Episode
    """The last EpisodeInfo: its phase is the outcome, CRASHED if the recording was cut."""
    custom_data: dict[str, str]
    """Texts of metadata.yaml."""
    images: dict[str, ImageStream]
    """By camera: "fixed" and "wrist"."""
    joints: JointTable
    poses: PoseTable
    applied: tuple[AppliedAction, ...]
    """In the order of their steps."""
    chunks: tuple[ActionChunk, ...]
    acks: tuple[ChunkAck, ...]
    sim_states: tuple[SimState, ...]
    counts: dict[str, int]
    """Messages by topic."""

    @property
    def instruction(self) -> str:
        """The instruction of the episode."""
        return self.episode.instruction

    @property
    def outcome(self) -> EpisodePhase:
        """How the episode ended."""
        return self.episode.phase

    @property
    def picture_every(self) -> int:
        """Control steps from one picture to the next, as the metadata promises; 1 where it promises nothing.

        Raises:
            BagError: The metadata names a number that cannot be.
        """
        text = self.custom_data.get(PICTURE_EVERY, "1")
        if text not in map(str, PICTURE_INTERVALS):
            raise BagError(
                f"The metadata of {self.path} says {PICTURE_EVERY} {text!r}, expected one of "
                f"{', '.join(map(str, PICTURE_INTERVALS))}."
            )
        return int(text)

    @property
    def fixed(self) -> ImageStream:
        """The images of the fixed camera."""
        return self.images["fixed"]

    @property
    def wrist(self) -> ImageStream:
        """The images of the wrist camera."""
        return self.images["wrist"]

    def robot_states(self, tolerance_ns: int = 0) -> tuple[RobotState, ...]:
        """Return the measured states, each from joints and the pose of the nearest stamp.

        Args:
            tolerance_ns: Joints without a pose that is at most so far away [ns] are left out.
        """
        states = []
        for row, stamp in enumerate(self.joints.stamps_ns):
            if not len(self.poses.stamps_ns):
                break
            nearest = int(np.argmin(np.abs(self.poses.stamps_ns - stamp)))
            if abs(int(self.poses.stamps_ns[nearest]) - int(stamp)) > tolerance_ns:
                continue
            pose = Pose(position=self.poses.positions[nearest], quaternion=self.poses.quaternions[nearest])
            states.append(
                RobotState(
                    stamp_ns=int(stamp),
                    positions=self.joints.positions[row],
                    velocities=self.joints.velocities[row],
                    gripper_width=float(self.joints.gripper_width[row]),
                    tcp_pose=pose,
                )
            )
        return tuple(states)


def read_episode(path: Path | str) -> EpisodeRecording:
    """Return the episode of a bag; images stay on the disk until they are asked for.

    Args:
        path: A bag folder or a single storage file.

    Raises:
        BagError: The bag is missing, truncated, damaged, or no episode bag: in one sentence.
    """
    path = Path(path)
    custom = read_metadata(path).custom_data
    raw: dict[str, list[bytes]] = {}
    logged: dict[str, dict[int, int]] = {
        topic: {} for camera in topics.CAMERAS for topic in _topics_of(camera)
    }
    types: dict[str, str] = {}
    counts: dict[str, int] = {}
    try:
        with open_bag(path) as reader:
            store = store_of(reader)
            for connection in reader.connections:
                counts.setdefault(connection.topic, 0)
                types[connection.topic] = connection.msgtype
            logged = {topic: times for topic, times in logged.items() if topic in types}
            for connection, logged_ns, data in reader.messages(reader.connections):
                topic = connection.topic
                counts[topic] += 1
                if topic in VALUE_TOPICS:
                    raw.setdefault(topic, []).append(data)
                elif topic in logged:
                    logged[topic].setdefault(header_stamp_ns(data), logged_ns)
    except DAMAGE as error:
        raise BagError(
            f"The bag {path} cannot be read: {error} Recover it with `physgen repair {path}`."
        ) from error

    def values(topic: str) -> list[Any]:
        return [store.deserialize_cdr(data, types[topic]) for data in raw.get(topic, [])]

    try:
        infos = values(topics.EPISODE_INFO)
        if not infos:
            raise BagError(f"The bag {path} holds no {topics.EPISODE_INFO}: it is not an episode bag.")
        episode = _with_outcome(read.episode_from_msg(infos[-1]), custom)
        applied = [read.applied_action_from_msg(m) for m in values(topics.APPLIED_ACTION)]
        applied = _once(_of_episode(applied, episode.episode_id), lambda a: a.step)
        if raw.get(topics.SIM_STATE) and episode.phase in (EpisodePhase.SUCCESS, EpisodePhase.FAILURE):
            # The controller may answer the last observation before it hears that the episode is over; no world took
            # that action.
            applied = [a for a in applied if a.step < episode.step]
        chunks = [read.action_chunk_from_msg(m) for m in values(topics.ACTION_CHUNK)]
        sim_states = [read.sim_state_from_msg(m) for m in values(topics.SIM_STATE)]
        return EpisodeRecording(
            path=path,
            episode=episode,
            custom_data=custom,
            images={camera: _image_stream(path, camera, logged) for camera in topics.CAMERAS},
            joints=_joint_table(values(topics.JOINT_STATES)),
            poses=_pose_table(values(topics.CURRENT_POSE)),
            applied=tuple(sorted(applied, key=lambda a: a.step)),
            chunks=tuple(_once(chunks, lambda c: (c.session_id, c.chunk_seq))),
            acks=tuple(read.chunk_ack_from_msg(m) for m in values(topics.CHUNK_ACK)),
            sim_states=tuple(_once(sim_states, lambda s: s.stamp_ns)),
            counts=counts,
        )
    except BagError:
        raise
    except DAMAGE as error:
        raise BagError(f"The bag {path} holds a message that cannot be understood: {error}") from error


def _topics_of(camera: str) -> tuple[str, str]:
    return topics.image_topic(camera), topics.image_topic(camera, compressed=True)


def _with_outcome(episode: Episode, custom: dict[str, str]) -> Episode:
    """Return the episode with the metadata's outcome where the bag ends without a terminal EpisodeInfo."""
    outcome = custom.get("outcome", "")
    if episode.phase != EpisodePhase.RUNNING or outcome not in EpisodePhase.__members__:
        return episode
    return replace(episode, phase=EpisodePhase[outcome], detail=custom.get("detail", ""))


def _of_episode(applied: list[AppliedAction], episode_id: str) -> list[AppliedAction]:
    """Return the applied actions of the episode; a controller that heard of no episode names none, and then all count.

    One that names episodes counted other steps before this one: its last holds must not pass for steps of the episode.
    """
    named = [action for action in applied if action.episode_id == episode_id]
    return named or [action for action in applied if not action.episode_id]


def _once(items: list[Any], key: Any) -> list[Any]:
    """Keep the first item of each key: readers of a lockstep world must be idempotent."""
    first: dict[Any, Any] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())


def _image_stream(path: Path, camera: str, logged: dict[str, dict[int, int]]) -> ImageStream:
    plain, compressed = _topics_of(camera)
    topic = plain if logged.get(plain) or compressed not in logged else compressed
    return ImageStream(camera, path, topic, logged.get(topic, {}))


def _by_stamp(messages: list[Any]) -> list[Any]:
    kept = _once(messages, lambda m: read.stamp_to_ns(m.header.stamp))
    return sorted(kept, key=lambda m: read.stamp_to_ns(m.header.stamp))


def _joint_table(messages: list[Any]) -> JointTable:
    rows = [read.joints_from_msg(message) for message in _by_stamp(messages)]
    return JointTable(
        stamps_ns=np.array([read.stamp_to_ns(m.header.stamp) for m in _by_stamp(messages)], np.int64),
        positions=np.array([r[0] for r in rows], np.float64).reshape(-1, NUM_JOINTS),
        velocities=np.array([r[1] for r in rows], np.float64).reshape(-1, NUM_JOINTS),
        gripper_width=np.array([r[2] for r in rows], np.float64),
    )


def _pose_table(messages: list[Any]) -> PoseTable:
    kept = _by_stamp(messages)
    poses = [read.pose_from_msg(message.pose, "TCP pose") for message in kept]
    return PoseTable(
        stamps_ns=np.array([read.stamp_to_ns(m.header.stamp) for m in kept], np.int64),
        positions=np.array([p.position for p in poses], np.float64).reshape(-1, 3),
        quaternions=np.array([p.quaternion for p in poses], np.float64).reshape(-1, 4),
    )
