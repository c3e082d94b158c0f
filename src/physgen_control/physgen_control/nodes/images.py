# SPDX-License-Identifier: Apache-2.0
"""The one seam for image messages: cv_bridge where it is installed, the same contract in NumPy elsewhere."""

from __future__ import annotations

from array import array

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from physgen_control.nodes.conversions import ConversionError, make_header, stamp_to_ns
from physgen_control.types import CameraFrame, Float64Array, UInt8Image

try:  # the pip runtime has no cv_bridge
    from cv_bridge import CvBridge
except ImportError:
    CvBridge = None

HAVE_CV_BRIDGE = CvBridge is not None


def image_to_msg(rgb: UInt8Image, stamp_ns: int, frame_id: str) -> Image:
    """Return an rgb8 message of a uint8 image [height, width, 3] acquired at `stamp_ns`; the pixels are copied."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ConversionError(f"An image must be uint8 of shape (height, width, 3), got {rgb.dtype} {rgb.shape}.")
    message = _encode_with_cv_bridge(rgb) if HAVE_CV_BRIDGE else encode_plain(rgb)
    message.header = make_header(stamp_ns, frame_id)
    return message


def image_from_msg(message: Image) -> CameraFrame:
    """Return the frame of an rgb8 or bgr8 message as an own RGB copy.

    Raises:
        ConversionError: Another encoding, an impossible row step or too few bytes, in one sentence.
    """
    if message.encoding not in ("rgb8", "bgr8"):
        raise ConversionError(
            f"Image from {message.header.frame_id!r} has the encoding {message.encoding!r}, expected rgb8 or bgr8: "
            "set the camera driver's colour format."
        )
    needed = message.height * message.step
    if message.width < 1 or message.height < 1 or message.step < 3 * message.width or len(message.data) < needed:
        raise ConversionError(
            f"Image from {message.header.frame_id!r} of {message.width} x {message.height} with a row step of "
            f"{message.step} bytes needs step >= {3 * message.width} and {needed} bytes, got {len(message.data)} bytes."
        )
    rgb = _decode_with_cv_bridge(message) if HAVE_CV_BRIDGE else decode_plain(message)
    return CameraFrame(stamp_ns=stamp_to_ns(message.header.stamp), rgb=rgb, frame_id=message.header.frame_id)


def encode_plain(rgb: UInt8Image) -> Image:
    """Return an rgb8 message without header; what cv_bridge's cv2_to_imgmsg does, without OpenCV."""
    height, width, _ = rgb.shape
    data = array("B")
    # frombytes of a memoryview copies once; array("B", ndarray) would walk over every pixel (100 times slower).
    data.frombytes(memoryview(np.ascontiguousarray(rgb)).cast("B"))
    return Image(height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=data)


def decode_plain(message: Image) -> UInt8Image:
    """Return the RGB pixels of an rgb8 or bgr8 message as a contiguous copy, honouring its row step."""
    rows = np.frombuffer(message.data, np.uint8, count=message.height * message.step)
    rows = rows.reshape(message.height, message.step)
    pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
    if message.encoding == "bgr8":
        pixels = pixels[:, :, ::-1]
    return np.array(pixels, np.uint8, order="C", copy=True)


def _encode_with_cv_bridge(rgb: UInt8Image) -> Image:
    return CvBridge().cv2_to_imgmsg(np.ascontiguousarray(rgb), encoding="rgb8")


def _decode_with_cv_bridge(message: Image) -> UInt8Image:
    return np.array(CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8"), np.uint8, order="C", copy=True)


def camera_info_to_msg(width: int, height: int, intrinsics: Float64Array, stamp_ns: int, frame_id: str) -> CameraInfo:
    """Return the calibration of an undistorted pinhole camera; `intrinsics` is K, 3 x 3, in pixels."""
    k = np.asarray(intrinsics, np.float64)
    if k.shape != (3, 3):
        raise ConversionError(f"Intrinsics must be a 3 x 3 matrix, got shape {k.shape}.")
    message = CameraInfo(
        header=make_header(stamp_ns, frame_id), width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5
    )
    message.k = k.reshape(9)
    message.r = np.eye(3).reshape(9)
    message.p = np.hstack([k, np.zeros((3, 1))]).reshape(12)
    return message
