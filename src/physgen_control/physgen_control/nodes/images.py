# SPDX-License-Identifier: Apache-2.0
"""The one seam for image messages: cv_bridge where it is installed, the same contract in NumPy elsewhere."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from physgen_control.messages import build, read
from physgen_control.nodes.conversions import BUILDER, make_header, stamp_to_ns
from physgen_control.types import CameraFrame, Float64Array, UInt8Image

try:  # the pip runtime has no cv_bridge
    from cv_bridge import CvBridge
except ImportError:
    CvBridge = None

HAVE_CV_BRIDGE = CvBridge is not None


def image_to_msg(rgb: UInt8Image, stamp_ns: int, frame_id: str) -> Image:
    """Return an rgb8 message of an image, uint8 [height, width, 3], acquired at `stamp_ns`; copies pixels.

    Raises:
        ConversionError: The array is no such image.
    """
    encode = image_to_msg_cv_bridge if HAVE_CV_BRIDGE else image_to_msg_plain
    return encode(rgb, stamp_ns, frame_id)


def image_from_msg(message: Image) -> CameraFrame:
    """Return an rgb8 or bgr8 message as RGB, uint8 [height, width, 3], in memory of its own.

    Raises:
        ConversionError: Another encoding, an impossible row step or too few bytes.
    """
    return image_from_msg_cv_bridge(message) if HAVE_CV_BRIDGE else image_from_msg_plain(message)


def image_to_msg_plain(rgb: UInt8Image, stamp_ns: int, frame_id: str) -> Image:
    """Return what `image_to_msg` returns, without cv_bridge."""
    return build.build_image(BUILDER, rgb, stamp_ns, frame_id)


def image_from_msg_plain(message: Image) -> CameraFrame:
    """Return what `image_from_msg` returns, without cv_bridge."""
    return read.image_from_msg(message)


def image_to_msg_cv_bridge(rgb: UInt8Image, stamp_ns: int, frame_id: str) -> Image:
    """Return what `image_to_msg` returns, by cv_bridge."""
    build.check_rgb(rgb)
    message = CvBridge().cv2_to_imgmsg(np.ascontiguousarray(rgb), encoding="rgb8")
    message.header = make_header(stamp_ns, frame_id)
    return message


def image_from_msg_cv_bridge(message: Image) -> CameraFrame:
    """Return what `image_from_msg` returns, by cv_bridge."""
    read.check_image(message)
    pixels = CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    rgb = np.array(pixels, np.uint8, order="C", copy=True)
    return CameraFrame(stamp_ns=stamp_to_ns(message.header.stamp), rgb=rgb, frame_id=message.header.frame_id)


def camera_info_to_msg(
    width: int, height: int, intrinsics: Float64Array, stamp_ns: int, frame_id: str
) -> CameraInfo:
    """Return the calibration of an undistorted pinhole camera; `intrinsics` is K, 3 x 3, in pixels."""
    return build.build_camera_info(BUILDER, width, height, intrinsics, stamp_ns, frame_id)
