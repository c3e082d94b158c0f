# SPDX-License-Identifier: Apache-2.0
"""Messages between two processes over a byte stream: a JSON header and raw arrays, nothing that could run code.

    4 bytes "PGP1" | uint32 length of the header | header | array | array ...

Numbers are little-endian, arrays in C order and as long as the header says. Knows neither torch nor processes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from physgen_control.errors import UserError

MAGIC = b"PGP1"
_PREFIX = struct.Struct("<4sI")
DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "float32": np.dtype("<f4")}
MAX_HEADER_BYTES = 2**20
MAX_ARRAY_BYTES = 2**28
"""Far above any camera image; a damaged header must not ask for all the memory."""


class FramingError(UserError):
    """The bytes are no message; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is said."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """uint8 or float32, by name."""


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write and flush one message.

    Raises:
        FramingError: An array of another type, or too large.
        OSError: The other side is gone.
    """
    table, blobs = [], []
    for name, array in message.arrays.items():
        if array.dtype.name not in DTYPES:
            raise FramingError(f"array {name!r} must be of {', '.join(DTYPES)}, got {array.dtype}")
        if array.nbytes > MAX_ARRAY_BYTES:
            raise FramingError(f"array {name!r} has {array.nbytes} bytes, at most {MAX_ARRAY_BYTES} are sent")
        table.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        blobs.append(np.ascontiguousarray(array, DTYPES[array.dtype.name]).tobytes())
    header = json.dumps({"kind": message.kind, "fields": dict(message.fields), "arrays": table}).encode()
    if len(header) > MAX_HEADER_BYTES:
        raise FramingError(f"the header has {len(header)} bytes, at most {MAX_HEADER_BYTES} are sent")
    stream.write(b"".join([_PREFIX.pack(MAGIC, len(header)), header, *blobs]))
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Return the next message, its arrays writable and owned by the caller; None where the stream ends before it.

    Raises:
        FramingError: The stream ends within a message or holds something else.
    """
    prefix = _read(stream, _PREFIX.size, may_end=True)
    if not prefix:
        return None
    magic, length = _PREFIX.unpack(prefix)
    if magic != MAGIC or length > MAX_HEADER_BYTES:
        raise FramingError(f"expected a message, got the bytes {prefix!r}")
    try:
        header = json.loads(_read(stream, length))
        kind, fields, table = str(header["kind"]), dict(header["fields"]), list(header["arrays"])
        described = [(str(a["name"]), DTYPES[a["dtype"]], tuple(map(_size, a["shape"]))) for a in table]
    except (ValueError, KeyError, TypeError) as error:
        raise FramingError(f"a message has a damaged header: {error!r}") from error
    arrays = {}
    for name, dtype, shape in described:
        count = math.prod(shape)
        if count * dtype.itemsize > MAX_ARRAY_BYTES:
            raise FramingError(
                f"array {name!r} of shape {shape} is larger than the {MAX_ARRAY_BYTES} bytes allowed"
            )
        raw = _read(stream, count * dtype.itemsize)
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape).copy()
    return Message(kind, fields, arrays)


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no size")
    return value


def _read(stream: BinaryIO, count: int, *, may_end: bool = False) -> bytes:
    parts: list[bytes] = []
    missing = count
    while missing:
        part = stream.read(missing)
        if not part:
            if may_end and missing == count:
                return b""
            raise FramingError(f"the stream ended {missing} bytes before the end of a message")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
