# SPDX-License-Identifier: Apache-2.0
"""Read the header of a serialised message without decoding the message: what a recorder needs of an image."""

from __future__ import annotations

import struct

from physgen_control.bags.errors import BagError
from physgen_control.types import NS_PER_S


def header_stamp_ns(data: bytes | memoryview) -> int:
    """Return the stamp [ns] of a CDR message whose first field is a std_msgs/Header.

    Layout: four bytes of encapsulation (second byte odd: little endian), int32 seconds, uint32 nanoseconds.

    Raises:
        BagError: There are fewer than the 12 bytes of such a header.
    """
    if len(data) < 12:
        raise BagError(f"A serialised message with a header has at least 12 bytes, got {len(data)}.")
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", data, 4)
    return int(seconds) * NS_PER_S + int(nanoseconds)
