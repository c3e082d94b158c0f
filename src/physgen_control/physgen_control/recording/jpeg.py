# SPDX-License-Identifier: Apache-2.0
"""Turn a serialised raw image into a serialised JPEG: for recorders whose disk does not hold raw images."""

from __future__ import annotations

import struct
from typing import Any

from rosbags.serde import SerdeError

from physgen_control.bags.errors import BagError
from physgen_control.bags.serialize import JPEG_QUALITY, build_compressed_image, serialize
from physgen_control.bags.typestore import typestore
from physgen_control.errors import UserError
from physgen_control.messages.read import image_from_msg

# What the decoders raise on bytes that are no image.
_DAMAGE = (SerdeError, struct.error, ValueError, LookupError, AssertionError, OSError, OverflowError)


def jpeg_from_image(data: bytes, quality: int = JPEG_QUALITY) -> bytes:
    """Return the CDR bytes of a sensor_msgs/CompressedImage with the stamp and frame of a sensor_msgs/Image.

    Args:
        data: CDR bytes of an rgb8 or bgr8 image.
        quality: 1 .. 100, as in libjpeg; colours are subsampled 4:2:0.

    Raises:
        BagError: The bytes are no such image, in one sentence.
    """
    try:
        message: Any = typestore().deserialize_cdr(data, "sensor_msgs/msg/Image")
        frame = image_from_msg(message)
    except UserError as error:
        raise BagError(f"An image cannot be compressed: {error}") from error
    except _DAMAGE as error:
        raise BagError(f"An image cannot be compressed: its message is damaged ({error}).") from error
    return serialize(build_compressed_image(frame.rgb, frame.stamp_ns, frame.frame_id, quality))
