# SPDX-License-Identifier: Apache-2.0
"""Write one episode as a rosbag2 folder with MCAP storage: raw CDR bytes in, a finished folder out.

The `mcap` library is used rather than the writer of `rosbags`: it ends a chunk by size, so that everything
before the current chunk survives a crash, and it stores our metadata in the file itself.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata as package_metadata
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter

from physgen_control.bags.errors import BagError
from physgen_control.bags.typestore import definition, typestore

METADATA_VERSION = 9  # rosbag2 of Jazzy
METADATA_RECORD = "physgen"
"""Name of the MCAP metadata record that holds the custom data, so that a single .mcap explains itself."""

PARTIAL_SUFFIX = ".partial"

CHUNK_BYTES = 768 * 1024
"""Uncompressed size at which a chunk is closed and written: what a crash can cost at most."""


class BagWriter:
    """Writes `path.partial/` and renames it to `path` when finished; not thread-safe.

    Args:
        path: The folder to create; must not exist.
        custom_data: Texts for metadata.yaml (custom_data) and the MCAP file, known at the start.
        compression: "zstd" (the default, smallest), "lz4" (fastest) or "none"; all are lossless.
        chunk_bytes: Uncompressed size at which a chunk is written (see CHUNK_BYTES).

    Raises:
        BagError: The folder exists or cannot be created, or the compression is none of these.
    """

    def __init__(
        self,
        path: Path | str,
        custom_data: Mapping[str, str] | None = None,
        *,
        compression: str = "zstd",
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.path = Path(path)
        self.partial_path = self.path.with_name(self.path.name + PARTIAL_SUFFIX)
        kinds = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}
        if compression not in kinds:
            raise BagError(f"Bag compression must be one of {sorted(kinds)}, got {compression!r}.")
        for taken in (self.path, self.partial_path):
            if taken.exists():
                raise BagError(f"The bag {taken} exists already and is not overwritten: choose another name.")
        self.custom_data = {"versions": versions_text(), **(custom_data or {})}
        self._channels: dict[str, tuple[int, str]] = {}  # topic -> channel id, type
        self._schemas: dict[str, int] = {}
        self._hashes: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._latched: set[str] = set()
        self._first_ns: int | None = None
        self._last_ns = 0
        self.num_bytes = 0
        """Uncompressed message bytes so far."""
        try:
            self.partial_path.mkdir(parents=True)
            self._file = (self.partial_path / f"{self.path.name}_0.mcap").open("wb")
            self._writer = McapWriter(self._file, chunk_size=chunk_bytes, compression=kinds[compression])
            self._writer.start(profile="ros2", library="physgen")
            self._writer.add_metadata(METADATA_RECORD, self.custom_data)
            self._file.flush()
        except OSError as error:
            raise BagError(f"The bag {self.path} cannot be created: {error.strerror or error}.") from error
        self._position = self._file.tell()
        self._open = True

    @property
    def counts(self) -> dict[str, int]:
        """Messages per topic so far."""
        return dict(self._counts)

    def add_topic(
        self, topic: str, message_type: str, *, latched: bool = False, definition_text: str = ""
    ) -> None:
        """Announce a topic.

        Args:
            topic: Its name.
            message_type: Such as sensor_msgs/msg/Image.
            latched: Stored as the offered QoS, so that `ros2 bag play` latches it.
            definition_text: Full definition where it differs from the installed one (an older bag).

        Raises:
            BagError: The topic was added before, or the type is unknown.
        """
        if topic in self._channels:
            raise BagError(f"The topic {topic} was added to the bag twice.")
        if message_type not in self._schemas:
            text = definition_text or definition(message_type)[0]
            own = message_type in typestore().types and text == definition(message_type)[0]
            self._hashes[message_type] = definition(message_type)[1] if own else ""
            self._schemas[message_type] = self._writer.register_schema(message_type, "ros2msg", text.encode())
        channel_metadata = {
            "offered_qos_profiles": yaml.safe_dump([_qos(latched)], sort_keys=False),
            "topic_type_hash": self._hashes[message_type],
        }
        channel = self._writer.register_channel(topic, "cdr", self._schemas[message_type], channel_metadata)
        self._channels[topic] = (channel, message_type)
        self._counts[topic] = 0
        if latched:
            self._latched.add(topic)

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Append one serialised message.

        Args:
            topic: An added topic.
            data: CDR bytes with their encapsulation header.
            log_time_ns: When it was received [ns of ROS time].
            publish_time_ns: When it was published; log time if unknown.

        Raises:
            BagError: The topic was not added, or the disk cannot be written.
        """
        if topic not in self._channels:
            raise BagError(f"The topic {topic} was not added to the bag; added are {sorted(self._channels)}.")
        channel = self._channels[topic][0]
        published = log_time_ns if publish_time_ns is None else publish_time_ns
        try:
            self._writer.add_message(channel, log_time_ns, data, published, sequence=self._counts[topic])
            # A finished chunk must reach the kernel at once: then a killed process loses the open chunk only.
            if self._file.tell() != self._position:
                self._file.flush()
                self._position = self._file.tell()
        except OSError as error:
            raise BagError(f"Writing the bag {self.path} failed: {error.strerror or error}.") from error
        self._counts[topic] += 1
        self.num_bytes += len(data)
        self._first_ns = log_time_ns if self._first_ns is None else min(self._first_ns, log_time_ns)
        self._last_ns = max(self._last_ns, log_time_ns)

    def finish(self, custom_data: Mapping[str, str] | None = None) -> Path:
        """Complete the file, write metadata.yaml, rename the folder and return its final path.

        Raises:
            BagError: The bag was finished before, or the disk cannot be written; then the `.partial` folder stays.
        """
        if not self._open:
            raise BagError(f"The bag {self.path} was finished before.")
        self.custom_data.update(custom_data or {})
        try:
            document = self._metadata()
            self._writer.add_metadata(METADATA_RECORD, self.custom_data)
            inner = yaml.safe_dump(document["rosbag2_bagfile_information"], sort_keys=False)
            self._writer.add_metadata("rosbag2", {"serialized_metadata": inner})
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
            with (self.partial_path / "metadata.yaml").open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # Everything is on the disk before the name says so: a bag without .partial is whole, after a power cut too.
            self.partial_path.rename(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            self.abandon()
            raise BagError(
                f"Finishing the bag {self.path} failed: {error.strerror or error}; what was written stays in "
                f"{self.partial_path}, `physgen repair` recovers it."
            ) from error
        self._open = False
        return self.path

    def abandon(self) -> None:
        """Close the file as it is and leave the `.partial` folder for repair; never raises."""
        self._open = False
        with suppress(OSError):  # the disk is full or gone: nothing can be kept beyond what is there
            self._file.close()

    def _metadata(self) -> dict[str, Any]:
        start = self._first_ns or 0
        duration = max(0, self._last_ns - start)
        total = sum(self._counts.values())
        file_name = f"{self.path.name}_0.mcap"
        topics = [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": message_type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [_qos(topic in self._latched)],
                    "type_description_hash": self._hashes[message_type],
                },
                "message_count": self._counts[topic],
            }
            for topic, (_, message_type) in self._channels.items()
        ]
        return {
            "rosbag2_bagfile_information": {
                "version": METADATA_VERSION,
                "storage_identifier": "mcap",
                "duration": {"nanoseconds": duration},
                "starting_time": {"nanoseconds_since_epoch": start},
                "message_count": total,
                "topics_with_message_count": topics,
                "compression_format": "",
                "compression_mode": "",
                "relative_file_paths": [file_name],
                "files": [
                    {
                        "path": file_name,
                        "starting_time": {"nanoseconds_since_epoch": start},
                        "duration": {"nanoseconds": duration},
                        "message_count": total,
                    }
                ],
                "custom_data": dict(self.custom_data),
                "ros_distro": os.environ.get("ROS_DISTRO", "jazzy"),
            }
        }


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk; network file systems that cannot are left alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def versions_text() -> str:
    """Return the versions that wrote a bag, as "name=version" words."""
    words = [f"python={platform.python_version()}"]
    for name in ("physgen_control", "mcap", "rosbags", "numpy"):
        try:
            words.append(f"{name}={package_metadata.version(name)}")
        except package_metadata.PackageNotFoundError:
            continue
    return " ".join(words)


def _qos(latched: bool) -> dict[str, Any]:
    forever = {"sec": 9223372036, "nsec": 854775807}
    return {
        "history": "keep_last",
        "depth": 1 if latched else 10,
        "reliability": "reliable",
        "durability": "transient_local" if latched else "volatile",
        "deadline": dict(forever),
        "lifespan": dict(forever),
        "liveliness": "automatic",
        "liveliness_lease_duration": dict(forever),
        "avoid_ros_namespace_conventions": False,
    }
