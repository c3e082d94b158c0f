# SPDX-License-Identifier: Apache-2.0
"""Read an episode bag into values, without ROS: what training, replay and the viewer start from."""

from __future__ import annotations

import io
import struct
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as PilImage
from PIL import UnidentifiedImageError
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore

from physgen_control.bags import topics
from physgen_control.bags.bounded_path import BoundedPath
from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.bags.errors import BagError
from physgen_control.bags.serialize import PICTURE_EVERY
from physgen_control.bags.typestore import definition, typestore
from physgen_control.bags.writer import PARTIAL_SUFFIX
from physgen_control.messages import read
from physgen_control.types import (
    PICTURE_INTERVALS,
    ActionChunk,
    AppliedAction,
    CameraFrame,
    ChunkAck,
    Episode,
    EpisodePhase,
    Float64Array,
    Pose,
    RobotState,
    SimState,
    UInt8Image,
)

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

# The C loader is ten times faster; both are the safe ones.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What the libraries raise on damaged bytes: their own errors, those of struct, NumPy, text and YAML decoding.
_DAMAGE = (
    ReaderError,
    SerdeError,
    TypesysError,
    ZstdError,
    OSError,
    EOFError,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    RuntimeError,  # lz4
    ArithmeticError,  # OverflowError of a declared size
    AttributeError,  # YAML of another shape
    yaml.YAMLError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BagSummary:
    """What metadata.yaml says of a bag: cheap, no message is read. `outcome` is an EpisodePhase name."""

    path: Path
    task: str
    seed: int
    episode_id: str
    instruction: str
    outcome: str
    steps: int
    custom_data: dict[str, str]
    counts: dict[str, int]
    duration_ns: int


@dataclass(frozen=True, slots=True)
class ImageStream:
    """The images of one camera in acquisition order, one per stamp; they are decoded when asked for."""

    camera: str
    stamps_ns: np.ndarray
    """int64 [n], strictly increasing."""
    _raw: tuple[bytes, ...]
    _type: str
    _store: Typestore

    def __len__(self) -> int:
        return len(self._raw)

    def frame(self, index: int) -> CameraFrame:
        """Return the image at `index` as RGB with its stamp and frame."""
        try:
            message: Any = self._store.deserialize_cdr(self._raw[index], self._type)
            if self._type == "sensor_msgs/msg/Image":
                return read.image_from_msg(message)
            with PilImage.open(io.BytesIO(bytes(message.data))) as image:
                rgb = np.array(image.convert("RGB"), np.uint8)
        except (UnidentifiedImageError, *_DAMAGE) as error:
            raise BagError(
                f"Image {index} of the camera {self.camera!r} cannot be decoded: {error}"
            ) from error
        header = message.header
        return CameraFrame(stamp_ns=read.stamp_to_ns(header.stamp), rgb=rgb, frame_id=header.frame_id)

    def rgb(self, index: int) -> UInt8Image:
        """Return the pixels at `index`, uint8 [height, width, 3]."""
        return self.frame(index).rgb


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTable:
    """Measured joints by stamp: stamps int64 [n], positions, velocities float64 [n, 7], opening [n] (m)."""

    stamps_ns: np.ndarray
    positions: Float64Array
    velocities: Float64Array
    gripper_width: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseTable:
    """Measured TCP poses by stamp: stamps int64 [n], positions [n, 3] (m), quaternions [n, 4] (xyzw)."""

    stamps_ns: np.ndarray
    positions: Float64Array
    quaternions: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecording:
    """One recorded episode.

    Repeated messages (same stamp, step or sequence) are kept once. `episode` is the last EpisodeInfo: its
    phase is the outcome, CRASHED if the recording was cut. `applied` is ordered by step.
    """

    path: Path
    episode: Episode
    custom_data: dict[str, str]
    images: dict[str, ImageStream]
    joints: JointTable
    poses: PoseTable
    applied: tuple[AppliedAction, ...]
    chunks: tuple[ActionChunk, ...]
    acks: tuple[ChunkAck, ...]
    sim_states: tuple[SimState, ...]
    counts: dict[str, int]

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
        """Return joints with the nearest pose; those without one within `tolerance_ns` are left out."""
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


def find_bags(path: Path | str) -> list[Path]:
    """Return the finished bags at or below a folder, sorted by path; `.partial` folders are left out.

    Raises:
        BagError: The folder does not exist.
    """
    root = Path(path)
    if not root.exists():
        raise BagError(f"{root} does not exist: give the folder of a bag or a folder of bags.")
    found = sorted(p.parent for p in root.rglob("metadata.yaml"))
    return [p for p in found if not any(part.endswith(PARTIAL_SUFFIX) for part in p.parts)]


def read_summary(path: Path | str) -> BagSummary:
    """Return what a bag's metadata.yaml says; BagError in one sentence if it is missing or damaged."""
    path = Path(path)
    information = _metadata(path)
    custom = {str(k): str(v) for k, v in (information.get("custom_data") or {}).items()}
    try:
        return BagSummary(
            path=path,
            task=custom.get("task", ""),
            seed=int(custom.get("seed", "-1")),
            episode_id=custom.get("episode_id", ""),
            instruction=custom.get("instruction", ""),
            outcome=custom.get("outcome", ""),
            steps=int(custom.get("steps", "0")),
            custom_data=custom,
            counts={
                t["topic_metadata"]["name"]: int(t["message_count"])
                for t in information["topics_with_message_count"]
            },
            duration_ns=int(information["duration"]["nanoseconds"]),
        )
    except _DAMAGE as error:
        raise BagError(
            f"{path / 'metadata.yaml'} is not the metadata of an episode bag: {error!r}."
        ) from error


def read_episode(path: Path | str) -> EpisodeRecording:
    """Return the episode of a bag folder; image bytes are held in memory, pixels are decoded on demand.

    Raises:
        BagError: The bag is missing, truncated, damaged, or no episode bag: in one sentence.
    """
    path = Path(path)
    information = _metadata(path)
    raw: dict[str, list[bytes]] = {}
    types: dict[str, str] = {}
    try:
        with Reader(BoundedPath(path)) as reader:
            store = _store_of(reader)
            for connection in reader.connections:
                raw.setdefault(connection.topic, [])
                types[connection.topic] = connection.msgtype
            for connection, _, data in reader.messages():
                raw[connection.topic].append(data)
    except _DAMAGE as error:
        raise BagError(
            f"The bag {path} cannot be read: {error} Recover it with `physgen repair {path}`."
        ) from error

    def values(topic: str) -> list[Any]:
        if topic not in raw:
            return []
        return [store.deserialize_cdr(data, types[topic]) for data in raw[topic]]

    try:
        infos = values(topics.EPISODE_INFO)
        if not infos:
            raise BagError(f"The bag {path} holds no {topics.EPISODE_INFO}: it is not an episode bag.")
        custom = {str(k): str(v) for k, v in (information.get("custom_data") or {}).items()}
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
            images={camera: _image_stream(camera, raw, types, store) for camera in topics.CAMERAS},
            joints=_joint_table(values(topics.JOINT_STATES)),
            poses=_pose_table(values(topics.CURRENT_POSE)),
            applied=tuple(sorted(applied, key=lambda a: a.step)),
            chunks=tuple(_once(chunks, lambda c: (c.session_id, c.chunk_seq))),
            acks=tuple(read.chunk_ack_from_msg(m) for m in values(topics.CHUNK_ACK)),
            sim_states=tuple(_once(sim_states, lambda s: s.stamp_ns)),
            counts={topic: len(messages) for topic, messages in raw.items()},
        )
    except BagError:
        raise
    except _DAMAGE as error:
        raise BagError(f"The bag {path} holds a message that cannot be understood: {error}") from error


def _metadata(path: Path) -> dict[str, Any]:
    file = path / "metadata.yaml"
    if not path.exists():
        raise BagError(f"The bag {path} does not exist.")
    if not file.is_file():
        raise BagError(
            f"{path} has no metadata.yaml, it is not finished: recover it with `physgen repair {path}`."
        )
    try:
        information = yaml.load(file.read_text(encoding="utf-8"), Loader=_YAML)["rosbag2_bagfile_information"]
    except _DAMAGE as error:
        raise BagError(f"{file} cannot be read: recover the bag with `physgen repair {path}`.") from error
    if not isinstance(information, dict):
        raise BagError(f"{file} is not rosbag2 metadata: recover the bag with `physgen repair {path}`.")
    return information


def _with_outcome(episode: Episode, custom: dict[str, str]) -> Episode:
    """Return the episode with the metadata's outcome where the terminal EpisodeInfo was never recorded."""
    outcome = custom.get("outcome", "")
    if episode.phase != EpisodePhase.RUNNING or outcome not in EpisodePhase.__members__:
        return episode
    return replace(episode, phase=EpisodePhase[outcome], detail=custom.get("detail", ""))


def _store_of(reader: Reader) -> Typestore:
    """Return the shared type store, or one with the definitions in the bag where ours have changed since."""
    foreign = []
    for connection in reader.connections:
        text = connection.msgdef.data
        if (
            connection.msgdef.format != MessageDefinitionFormat.MSG
            or connection.msgtype not in typestore().types
        ):
            continue
        if text != definition(connection.msgtype)[0]:
            foreign.append((connection.msgtype, text))
    return _store_with(tuple(sorted(foreign))) if foreign else typestore()


@lru_cache(maxsize=8)
def _store_with(definitions: tuple[tuple[str, str], ...]) -> Typestore:
    store = get_typestore(Stores.EMPTY)
    types: dict[str, Any] = dict(typestore().fielddefs)
    for name, text in definitions:
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


def _of_episode(applied: list[AppliedAction], episode_id: str) -> list[AppliedAction]:
    """Actions of the episode; a controller that heard of none names none, and then all count.

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


def _image_stream(
    camera: str, raw: dict[str, list[bytes]], types: dict[str, str], store: Typestore
) -> ImageStream:
    plain, compressed = topics.image_topic(camera), topics.image_topic(camera, compressed=True)
    topic = plain if raw.get(plain) or compressed not in raw else compressed
    by_stamp: dict[int, bytes] = {}
    for data in raw.get(topic, []):
        by_stamp.setdefault(header_stamp_ns(data), data)
    stamps = sorted(by_stamp)
    return ImageStream(
        camera,
        np.array(stamps, np.int64),
        tuple(by_stamp[stamp] for stamp in stamps),
        types.get(topic, "sensor_msgs/msg/Image"),
        store,
    )


def _by_stamp(messages: list[Any]) -> list[Any]:
    kept = _once(messages, lambda m: read.stamp_to_ns(m.header.stamp))
    return sorted(kept, key=lambda m: read.stamp_to_ns(m.header.stamp))


def _joint_table(messages: list[Any]) -> JointTable:
    rows = [read.joints_from_msg(message) for message in _by_stamp(messages)]
    return JointTable(
        stamps_ns=np.array([read.stamp_to_ns(m.header.stamp) for m in _by_stamp(messages)], np.int64),
        positions=np.array([r[0] for r in rows], np.float64).reshape(-1, read.NUM_JOINTS),
        velocities=np.array([r[1] for r in rows], np.float64).reshape(-1, read.NUM_JOINTS),
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
