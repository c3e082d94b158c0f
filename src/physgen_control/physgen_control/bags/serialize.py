# SPDX-License-Identifier: Apache-2.0
"""Write episode bags from values, without ROS: how an in-process collector gets the live recorder's bags."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from physgen_control.bags.errors import BagError
from physgen_control.bags.typestore import typestore
from physgen_control.bags.writer import BagWriter
from physgen_control.messages import build, topics
from physgen_control.types import (
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    EpisodePhase,
    Float64Array,
    RobotState,
    SimState,
    UInt8Image,
)

JPEG_QUALITY = 95
BAG_SCHEMA = "1"
PICTURE_EVERY = "picture_every"
"""Metadata key of a collected bag: pictures were drawn at control steps 0, N, 2 N, ... only."""


class BagBuilder:
    """Makes messages of the rosbags type store."""

    def make(self, name: str, /, **fields: Any) -> Any:
        """Return a message of the type `package/msg/Name`."""
        return typestore().types[name](**fields)

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Return a number sequence; rosbags takes NumPy arrays as they are."""
        return np.ascontiguousarray(values)


BUILDER = BagBuilder()


def serialize(message: Any) -> bytes:
    """Return the little-endian CDR bytes of a message made by BUILDER."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def build_compressed_image(rgb: UInt8Image, stamp_ns: int, frame_id: str, quality: int = JPEG_QUALITY) -> Any:
    """Return a JPEG CompressedImage (lossy) in the format string of image_transport."""
    build.check_rgb(rgb)
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return BUILDER.make(
        "sensor_msgs/msg/CompressedImage",
        header=build.build_header(BUILDER, stamp_ns, frame_id),
        format="rgb8; jpeg compressed bgr8",
        data=np.frombuffer(buffer.getvalue(), np.uint8),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """A camera as its CameraInfo describes it."""

    frame_id: str
    """Its optical frame."""
    intrinsics: Float64Array = field(default_factory=lambda: np.zeros((3, 3)))
    """K, [3, 3] in pixels; zero means uncalibrated."""


def episode_custom_data(episode: Episode) -> dict[str, str]:
    """Return what metadata.yaml says of an episode, as texts; `outcome` is the phase name."""
    return {
        "bag_schema": BAG_SCHEMA,
        "episode_id": episode.episode_id,
        "task": episode.task,
        "seed": str(episode.seed),
        "instruction": episode.instruction,
        "robot": episode.robot,
        "source": episode.source,
        "outcome": episode.phase.name,
        "steps": str(episode.step),
        "max_steps": str(episode.max_steps),
        "start_ns": str(episode.start_ns),
        "detail": episode.detail,
    }


class EpisodeBag:
    """One episode on its way into a bag. Values in, messages with the live graph's topics and types out.

    Use as a context manager: leaving it without `finish` keeps the `.partial` folder for repair.
    """

    def __init__(
        self,
        path: Path | str,
        episode: Episode,
        cameras: Mapping[str, CameraSpec],
        *,
        joint_prefix: str,
        frame_id: str = "base",
        images: str = "raw",
        compression: str = "zstd",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Open the bag and write the RUNNING EpisodeInfo.

        Args:
            path: Bag folder to create.
            episode: The episode at its start (phase RUNNING).
            cameras: Specifications by name: "fixed" and "wrist".
            joint_prefix: Joint name prefix, such as "panda".
            frame_id: Robot base frame.
            images: "raw" (lossless, default) or "jpeg" (quality 95).
            compression: Chunk compression, see BagWriter.
            extra: More texts for the metadata (collector settings, versions).

        Raises:
            BagError: A camera is missing or unknown, `images` is neither, or the bag cannot be created.
        """
        if set(cameras) != set(topics.CAMERAS):
            raise BagError(f"An episode bag needs the cameras {list(topics.CAMERAS)}, got {sorted(cameras)}.")
        if images not in ("raw", "jpeg"):
            raise BagError(f"Images are stored as 'raw' or 'jpeg', got {images!r}.")
        self._episode = episode
        self._cameras = dict(cameras)
        self._joint_prefix = joint_prefix
        self._frame_id = frame_id
        self._jpeg = images == "jpeg"
        self._now_ns = episode.start_ns
        path = Path(path)
        self._episode = replace(episode, bag_path=str(path))
        self._writer = BagWriter(
            path, {**episode_custom_data(episode), **(extra or {})}, compression=compression
        )
        for topic in topics.recorded_topics(self._jpeg):
            self._writer.add_topic(topic.name, topic.type, latched=topic.latched)
        self._write(topics.EPISODE_INFO, build.build_episode(BUILDER, self._episode, ""), episode.start_ns)

    def __enter__(self) -> EpisodeBag:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.abandon()

    @property
    def num_bytes(self) -> int:
        """Uncompressed message bytes so far."""
        return self._writer.num_bytes

    def add_observation(
        self,
        stamp_ns: int,
        rgb_fixed: UInt8Image | None,
        rgb_wrist: UInt8Image | None,
        robot_state: RobotState,
        sim_state: SimState | None = None,
    ) -> None:
        """Add one observation in the publish order of the bridge.

        Args:
            stamp_ns: When it was taken [ns of ROS time]; every part must carry it.
            rgb_fixed: uint8 [height, width, 3]; None, with rgb_wrist, where no picture was drawn.
            rgb_wrist: As rgb_fixed.
            robot_state: Measured state of the arm.
            sim_state: What only the simulator knows.

        Raises:
            BagError: The image of one camera alone, a part with another stamp, or a disk that cannot be written.
        """
        if (rgb_fixed is None) != (rgb_wrist is None):
            raise BagError("An observation has the images of both cameras or of none.")
        for what, value in (("robot state", robot_state), ("simulator state", sim_state)):
            if value is not None and value.stamp_ns != stamp_ns:
                raise BagError(
                    f"The {what} is stamped {value.stamp_ns}, its observation {stamp_ns}: must agree."
                )
        joints = build.build_joint_state(BUILDER, robot_state, self._joint_prefix, "")
        self._write(topics.JOINT_STATES, joints, stamp_ns)
        self._write(
            topics.CURRENT_POSE, build.build_current_pose(BUILDER, robot_state, self._frame_id), stamp_ns
        )
        if sim_state is not None:
            self._write(topics.SIM_STATE, build.build_sim_state(BUILDER, sim_state), stamp_ns)
        if rgb_fixed is not None and rgb_wrist is not None:
            self._write_images({"fixed": rgb_fixed, "wrist": rgb_wrist}, stamp_ns)

    def _write_images(self, images: Mapping[str, UInt8Image], stamp_ns: int) -> None:
        for camera, rgb in images.items():
            height, width = rgb.shape[:2]
            spec = self._cameras[camera]
            info = build.build_camera_info(BUILDER, width, height, spec.intrinsics, stamp_ns, spec.frame_id)
            self._write(topics.camera_info_topic(camera), info, stamp_ns)
        for camera in ("wrist", "fixed"):
            frame_id = self._cameras[camera].frame_id
            if self._jpeg:
                message = build_compressed_image(images[camera], stamp_ns, frame_id)
            else:
                message = build.build_image(BUILDER, images[camera], stamp_ns, frame_id)
            self._write(topics.image_topic(camera, self._jpeg), message, stamp_ns)

    def add_chunk(self, chunk: ActionChunk) -> None:
        """Add a prediction of the policy or expert."""
        self._write(topics.ACTION_CHUNK, build.build_action_chunk(BUILDER, chunk), chunk.stamp_ns)

    def add_ack(self, ack: ChunkAck) -> None:
        """Add the controller's answer to a chunk."""
        self._write(topics.CHUNK_ACK, build.build_chunk_ack(BUILDER, ack, self._frame_id), ack.stamp_ns)

    def add_applied(self, action: AppliedAction) -> None:
        """Add what the controller commanded in one step."""
        self._write(topics.APPLIED_ACTION, build.build_applied_action(BUILDER, action), action.stamp_ns)

    def finish(
        self, outcome: EpisodePhase, *, step: int, detail: str = "", extra: Mapping[str, str] | None = None
    ) -> Path:
        """Write the terminal EpisodeInfo, complete the bag and return its path.

        Args:
            outcome: SUCCESS, FAILURE, DISCARDED or CRASHED.
            step: Control steps executed.
            detail: A sentence for people.
            extra: More texts for the metadata.

        Raises:
            BagError: The outcome is none that an episode ends with, or the bag cannot be completed.
        """
        if outcome in (EpisodePhase.IDLE, EpisodePhase.RUNNING):
            raise BagError(f"An episode ends as SUCCESS, FAILURE, DISCARDED or CRASHED, not {outcome.name}.")
        final = replace(self._episode, phase=outcome, step=step, detail=detail)
        self._write(topics.EPISODE_INFO, build.build_episode(BUILDER, final, ""), self._now_ns)
        return self._writer.finish({**episode_custom_data(final), **(extra or {})})

    def abandon(self) -> None:
        """Stop without finishing; the `.partial` folder stays."""
        self._writer.abandon()

    def _write(self, topic: str, message: Any, stamp_ns: int) -> None:
        # Log time never runs back, as in a recorder; stamps may (a chunk is stamped before the world moves).
        self._now_ns = max(self._now_ns, stamp_ns)
        self._writer.write(topic, serialize(message), self._now_ns, stamp_ns)
