# SPDX-License-Identifier: Apache-2.0
"""Reads LIBERO's stored initial states without unpickling them.

The files are torch archives whose pickle is one NumPy array. Unpickling runs what the file says, so this reader only
lists the pickle's opcodes (pickletools executes nothing), requires exactly those of one float64 matrix, and takes its
bytes. The file's SHA-256 must be the pinned one before that.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import zipfile
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array

MEMBER = "archive/data.pkl"

# What protocol 2 writes for one two-dimensional array, memo operations left out.
_RECONSTRUCT = ("GLOBAL", "GLOBAL", "BININT1", "TUPLE1", "GLOBAL", "BINUNICODE", "BINUNICODE", "TUPLE2")
_STATE = ("REDUCE", "TUPLE3", "REDUCE", "MARK", "BININT1", "BININT1", "BININT1", "TUPLE2")
_DTYPE = ("GLOBAL", "BINUNICODE", "NEWFALSE", "NEWTRUE", "TUPLE3", "REDUCE", "MARK", "BININT1", "BINUNICODE")
_FLAGS = ("NONE", "NONE", "NONE", "BININT", "BININT", "BININT1", "TUPLE", "BUILD", "NEWFALSE")
_BYTES = ("BINUNICODE", "TUPLE2", "REDUCE", "TUPLE", "BUILD", "STOP")
_OPCODES = ("PROTO", *_RECONSTRUCT, *_STATE, *_DTYPE, *_FLAGS, *_BYTES)
_GLOBALS = ("numpy.core.multiarray _reconstruct", "numpy ndarray", "_codecs encode", "numpy dtype")
_MEMO = ("BINPUT", "BINGET", "LONG_BINPUT")


def read_init_states(path: Path, sha256: str) -> Float64Array:
    """Return the stored states [num_states, 1 + nq + nv]: time [s], positions and velocities of every joint.

    Raises:
        UserError: The file is missing, is not the pinned one, or holds anything but one matrix.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"LIBERO's initial states {path} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"LIBERO's initial states {path} have SHA-256 {found[:12]}, but {sha256[:12]} is expected; install "
            "hf-libero 0.1.4 again with `physgen setup --sim libero`."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return decode_matrix(archive.read(MEMBER))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"LIBERO's initial states {path} do not hold one matrix ({error}).") from error


def decode_matrix(pickled: bytes) -> Float64Array:
    """Return the float64 matrix in a protocol-2 pickle of one NumPy array, executing nothing.

    Raises:
        ValueError: The pickle holds anything else.
    """
    operations = [
        (opcode.name, argument)
        for opcode, argument, _ in pickletools.genops(pickled)
        if opcode.name not in _MEMO
    ]
    if tuple(name for name, _ in operations) != _OPCODES:
        raise ValueError("its operations are not those of one array")
    if tuple(argument for name, argument in operations if name == "GLOBAL") != _GLOBALS:
        raise ValueError("it names other things than NumPy's array and dtype")
    integers = [int(str(argument)) for name, argument in operations if name == "BININT1"]
    texts = [str(argument) for name, argument in operations if name == "BINUNICODE"]
    rows, columns = integers[2], integers[3]
    if texts[2] != "f8" or texts[3] != "<":
        raise ValueError(f"its numbers are {texts[3]}{texts[2]}, not <f8")
    data = texts[4].encode("latin-1")
    if len(data) != rows * columns * 8:
        raise ValueError(f"{rows} x {columns} numbers need {rows * columns * 8} bytes, it has {len(data)}")
    return np.frombuffer(data, dtype="<f8").reshape(rows, columns).astype(np.float64)
