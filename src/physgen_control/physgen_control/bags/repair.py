# SPDX-License-Identifier: Apache-2.0
"""Recover a readable bag from an unfinished or damaged one: all complete messages, the original untouched."""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lz4.frame  # type: ignore[import-untyped]  # the package has no stubs
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Metadata, Schema
from rosbags.serde import SerdeError

from physgen_control.bags.errors import BagError
from physgen_control.bags.typestore import typestore
from physgen_control.bags.writer import METADATA_RECORD, PARTIAL_SUFFIX, BagWriter
from physgen_control.messages import topics
from physgen_control.types import EpisodePhase

MAGIC = b"\x89MCAP0\r\n"
REPAIRED_SUFFIX = "-repaired"
_RECORD_HEAD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQII")  # start, end, uncompressed size, CRC, length of the compression name
# What the libraries raise on damaged bytes; RuntimeError comes from lz4, OverflowError from absurd lengths.
_DAMAGE = (
    McapError,
    zstandard.ZstdError,
    struct.error,
    ValueError,
    LookupError,
    EOFError,
    RuntimeError,
    OverflowError,
)
# Summary section: everything after DataEnd repeats what was read before.
_END = (Opcode.DATA_END, Opcode.FOOTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What was recovered."""

    path: Path
    """The bag that was written."""
    messages: int
    """Messages that were kept."""
    counts: dict[str, int]
    """Those messages by topic."""
    notes: tuple[str, ...]
    """What had to be dropped, one sentence each."""
    outcome: str
    """Name of the EpisodePhase, as far as it is known."""


@dataclass(slots=True)
class _Scan:
    """What a tolerant pass over one file found."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)  # by message type
    custom_data: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def repair_bag(source: Path | str, target: Path | str | None = None) -> RepairReport:
    """Write every complete message of `source` into a new bag.

    Args:
        source: A `.partial` folder, a bag folder or an .mcap file.
        target: The bag folder to create; by default next to the source, NAME-repaired.

    Raises:
        BagError: There is no .mcap file, nothing in it can be recovered, or the target exists.
    """
    source = Path(source)
    files = [source] if source.is_file() else sorted(source.glob("*.mcap"))
    if not files:
        raise BagError(f"{source} holds no .mcap file, so there is nothing to repair.")
    if source.is_file() and source.suffix != ".mcap":
        raise BagError(f"{source} is no .mcap file: give a bag folder, a .partial folder or an .mcap file.")
    name = source.stem if source.is_file() else source.name
    output = Path(target) if target else source.with_name(name.removesuffix(PARTIAL_SUFFIX) + REPAIRED_SUFFIX)
    # Read twice and hold one chunk at a time: a minute of raw images is larger than memory should have to be.
    scan, last_info = _Scan(), b""
    kinds: dict[str, str] = {}
    counts: dict[str, int] = {}
    for topic, message_type, message in _all_messages(files, scan):
        kinds.setdefault(topic, message_type)
        counts[topic] = counts.get(topic, 0) + 1
        if topic == topics.EPISODE_INFO:
            last_info = message.data
    if not counts:
        raise BagError(f"{source} holds no complete message, so there is nothing to repair.")
    outcome, steps, detail = _last_episode_info(last_info, counts, scan)
    if outcome in ("", EpisodePhase.RUNNING.name):
        outcome, detail = EpisodePhase.CRASHED.name, "The recording was cut before the end of the episode."
    custom = {**scan.custom_data, "outcome": outcome, "steps": str(steps), "detail": detail}
    custom["repaired_from"] = source.name
    custom["repair_notes"] = " ".join(scan.notes)
    writer = BagWriter(output, custom)
    try:
        for topic, message_type in kinds.items():
            latched = any(t.latched for t in topics.recorded_topics() if t.name == topic)
            definition = scan.definitions[message_type]
            writer.add_topic(topic, message_type, latched=latched, definition_text=definition)
        for topic, message_type, message in _all_messages(files, _Scan()):
            if kinds[topic] == message_type:
                writer.write(topic, message.data, message.log_time, message.publish_time)
        path = writer.finish()
    except BagError:
        writer.abandon()
        raise
    return RepairReport(
        path=path,
        messages=sum(writer.counts.values()),
        counts=writer.counts,
        notes=tuple(scan.notes),
        outcome=outcome,
    )


def _all_messages(files: list[Path], scan: _Scan) -> Iterator[tuple[str, str, Message]]:
    """Yield (topic, type, message) of every complete message, in file order."""
    for file in files:
        try:
            with _bytes_of(file) as data:
                yield from _messages(file, data, scan)
        except OSError as error:
            scan.notes.append(f"{file.name} cannot be read ({error.strerror or error}).")


@contextmanager
def _bytes_of(file: Path) -> Iterator[memoryview]:
    with file.open("rb") as handle:
        if not file.stat().st_size:
            yield memoryview(b"")
            return
        # Not closed by hand: views of it may live on in a generator; the last one closes it.
        yield memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))


def _messages(file: Path, data: memoryview, scan: _Scan) -> Iterator[tuple[str, str, Message]]:
    if bytes(data[:8]) != MAGIC:
        scan.notes.append(f"{file.name} does not start as an MCAP file and was skipped.")
        return
    position = 8
    while position < len(data):
        if position + _RECORD_HEAD.size > len(data):
            scan.notes.append(f"{file.name} ends within a record at byte {position}.")
            return
        opcode, length = _RECORD_HEAD.unpack_from(data, position)
        body = data[position + _RECORD_HEAD.size : position + _RECORD_HEAD.size + length]
        if opcode in _END:
            return
        truncated = len(body) < length
        if truncated:
            scan.notes.append(f"{file.name} ends within a record at byte {position}.")
        if opcode == Opcode.CHUNK:
            yield from _records(_chunk_bytes(body, position, truncated, file, scan), scan)
        elif not truncated:
            yield from _records(data[position : position + _RECORD_HEAD.size + length], scan)
        position += _RECORD_HEAD.size + length


def _chunk_bytes(body: memoryview, position: int, truncated: bool, file: Path, scan: _Scan) -> memoryview:
    """Return the uncompressed records of a chunk, as many as its bytes give."""  # noqa: DOC501  # caught here
    try:
        if truncated:
            *_, name_length = _CHUNK_HEAD.unpack_from(body, 0)
            start = _CHUNK_HEAD.size
            compression = bytes(body[start : start + name_length]).decode()
            payload = bytes(body[start + name_length + 8 :])
        else:
            chunk = Chunk.read(ReadDataStream(io.BytesIO(body)))
            compression, payload = chunk.compression, chunk.data
        if compression not in ("", "zstd", "lz4"):
            raise ValueError(f"unknown compression {compression!r}")
        if compression == "zstd":
            # The streaming decoder gives the complete blocks of a cut frame.
            payload = zstandard.ZstdDecompressor().decompressobj().decompress(payload)
        elif compression == "lz4":
            payload = lz4.frame.LZ4FrameDecompressor().decompress(payload)
        if not truncated and chunk.uncompressed_crc not in (0, zlib.crc32(payload)):
            raise ValueError("its checksum does not fit")
        return memoryview(payload)
    except _DAMAGE as error:
        scan.notes.append(
            f"The chunk at byte {position} of {file.name} is damaged and was skipped ({error})."
        )
    return memoryview(b"")


def _records(data: memoryview, scan: _Scan) -> Iterator[tuple[str, str, Message]]:
    """Yield the complete messages of a run of records; definitions and metadata go into `scan`."""
    position = 0
    while position + _RECORD_HEAD.size <= len(data):
        opcode, length = _RECORD_HEAD.unpack_from(data, position)
        position += _RECORD_HEAD.size
        if position + length > len(data):
            return
        stream = ReadDataStream(io.BytesIO(data[position : position + length]))
        position += length
        try:
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(stream)
                scan.schemas[schema.id] = schema
                scan.definitions[schema.name] = schema.data.decode()
            elif opcode == Opcode.CHANNEL:
                channel = Channel.read(stream)
                scan.channels[channel.id] = channel
            elif opcode == Opcode.METADATA:
                record = Metadata.read(stream)
                if record.name == METADATA_RECORD:
                    scan.custom_data.update(record.metadata)
            elif opcode == Opcode.MESSAGE:
                message = Message.read(stream, length)
                channel = scan.channels[message.channel_id]
                yield channel.topic, scan.schemas[channel.schema_id].name, message
        except _DAMAGE as error:
            scan.notes.append(f"A damaged record was skipped ({error!r}).")


def _last_episode_info(data: bytes, counts: dict[str, int], scan: _Scan) -> tuple[str, int, str]:
    """Return phase name, steps and detail of the last EpisodeInfo.

    One that is not final counts no steps: those that were applied are counted instead.
    """
    steps = counts.get(topics.APPLIED_ACTION, 0)
    if not data:
        return "", steps, ""
    try:
        info: Any = typestore().deserialize_cdr(data, "physgen_msgs/msg/EpisodeInfo")
        phase = EpisodePhase(int(info.phase))
        return phase.name, int(info.step) if phase > EpisodePhase.RUNNING else steps, str(info.detail)
    except (SerdeError, AssertionError, *_DAMAGE) as error:
        scan.notes.append(f"The last EpisodeInfo is damaged ({error}).")
        return "", steps, ""
