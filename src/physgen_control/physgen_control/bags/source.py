# SPDX-License-Identifier: Apache-2.0
"""Open a bag however it is stored: a rosbag2 folder (MCAP or SQLite), or a single storage file."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore

from physgen_control.bags.bounded_path import BoundedPath
from physgen_control.bags.errors import BagError
from physgen_control.bags.find import METADATA_FILE
from physgen_control.bags.typestore import definition, typestore
from physgen_control.bags.writer import METADATA_RECORD

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

# The C loader is ten times faster; both are the safe ones.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What the libraries raise on damaged bytes: their own errors, those of struct, NumPy, text and YAML decoding.
DAMAGE = (
    ReaderError,
    SerdeError,
    TypesysError,
    McapError,
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


@dataclass(frozen=True, slots=True)
class BagMetadata:
    """What is known of a bag before a message is read."""

    custom_data: dict[str, str]
    """The recorder's texts."""
    counts: dict[str, int]
    """Messages by topic."""
    duration_ns: int


def open_bag(path: Path) -> Reader:
    """Return the reader of a bag, a context manager; every error of it is in DAMAGE."""
    return Reader(BoundedPath(path))


def read_metadata(path: Path) -> BagMetadata:
    """Return the metadata of a bag: of metadata.yaml, or of the storage file where that is all there is.

    Raises:
        BagError: It is missing, damaged, or not that of a bag.
    """
    if not path.exists():
        raise BagError(f"The bag {path} does not exist.")
    return _metadata_of_file(path) if path.is_file() else _metadata_of_folder(path)


def store_of(reader: Reader) -> Typestore:
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


def connections_of(reader: Reader, *names: str) -> list[Connection]:
    """Return the connections of some topics; empty where the bag has none of them."""
    return [connection for connection in reader.connections if connection.topic in names]


def _metadata_of_folder(path: Path) -> BagMetadata:
    file = path / METADATA_FILE
    if not file.is_file():
        raise BagError(
            f"{path} has no metadata.yaml, it is not finished: recover it with `physgen repair {path}`."
        )
    try:
        information = yaml.load(file.read_text(encoding="utf-8"), Loader=_YAML)["rosbag2_bagfile_information"]
    except DAMAGE as error:
        raise BagError(f"{file} cannot be read: recover the bag with `physgen repair {path}`.") from error
    if not isinstance(information, dict):
        raise BagError(f"{file} is not rosbag2 metadata: recover the bag with `physgen repair {path}`.")
    try:
        return BagMetadata(
            custom_data={str(k): str(v) for k, v in (information.get("custom_data") or {}).items()},
            counts={
                t["topic_metadata"]["name"]: int(t["message_count"])
                for t in information["topics_with_message_count"]
            },
            duration_ns=int(information["duration"]["nanoseconds"]),
        )
    except DAMAGE as error:
        raise BagError(f"{file} is not the metadata of a bag: {error!r}.") from error


def _metadata_of_file(path: Path) -> BagMetadata:
    try:
        with open_bag(path) as reader:
            counts: dict[str, int] = {}
            for connection in reader.connections:
                counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
            return BagMetadata(_custom_data_of_file(path), counts, reader.duration)
    except DAMAGE as error:
        raise BagError(
            f"The bag {path} cannot be read: {error} Recover it with `physgen repair {path}`."
        ) from error


def _custom_data_of_file(path: Path) -> dict[str, str]:
    """Return what our recorder wrote into the storage file itself; the last record of a key counts."""
    custom: dict[str, str] = {}
    if path.suffix == ".mcap":
        with BoundedPath(path).open("rb") as file:
            for record in make_reader(file).iter_metadata():
                if record.name == METADATA_RECORD:
                    custom.update(record.metadata)
    return custom


@lru_cache(maxsize=8)
def _store_with(definitions: tuple[tuple[str, str], ...]) -> Typestore:
    store = get_typestore(Stores.EMPTY)
    types: dict[str, Any] = dict(typestore().fielddefs)
    for name, text in definitions:
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store
