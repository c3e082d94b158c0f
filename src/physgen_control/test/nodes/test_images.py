# SPDX-License-Identifier: Apache-2.0
"""Image messages keep their pixels, with cv_bridge and with our substitute alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sensor_msgs.msg import Image

from physgen_control.nodes import images
from physgen_control.nodes.conversions import ConversionError, make_header

Implementation = tuple[Callable[..., Any], Callable[..., Any]]
IMPLEMENTATIONS = [
    pytest.param((images.image_to_msg_plain, images.image_from_msg_plain), id="plain"),
    pytest.param(
        (images.image_to_msg_cv_bridge, images.image_from_msg_cv_bridge),
        id="cv_bridge",
        marks=pytest.mark.skipif(not images.HAVE_CV_BRIDGE, reason="cv_bridge is not installed"),
    ),
]
pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@given(rgb=pictures, stamp_ns=st.integers(0, 10**18))
def test_pixels_round_trip(implementation: Implementation, rgb: np.ndarray, stamp_ns: int) -> None:
    encode, decode = implementation
    message = encode(rgb, stamp_ns, "optical")
    assert (message.encoding, message.step, message.header.frame_id) == ("rgb8", 3 * rgb.shape[1], "optical")
    frame = decode(message)
    np.testing.assert_array_equal(frame.rgb, rgb)
    assert (frame.stamp_ns, frame.frame_id) == (stamp_ns, "optical")
    assert frame.rgb.flags.owndata and frame.rgb.flags.writeable


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@given(rgb=pictures)
def test_bgr_becomes_rgb(implementation: Implementation, rgb: np.ndarray) -> None:
    encode, decode = implementation
    message = encode(rgb[:, :, ::-1], 1, "optical")
    message.encoding = "bgr8"
    np.testing.assert_array_equal(decode(message).rgb, rgb)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_row_padding_is_not_pixels(implementation: Implementation) -> None:
    _, decode = implementation
    rows = np.arange(2 * 8, dtype=np.uint8).reshape(2, 8)
    message = Image(
        header=make_header(1, "optical"), height=2, width=2, encoding="rgb8", step=8, data=rows.tobytes()
    )
    np.testing.assert_array_equal(decode(message).rgb, rows[:, :6].reshape(2, 2, 3))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "mono8"}, "'mono8', expected rgb8 or bgr8"),
        ({"encoding": ""}, "expected rgb8"),
        ({"step": 5}, "row step"),
        ({"height": 9}, "got 12 bytes"),
        ({"width": 0}, "0 x 2"),
    ],
)
def test_a_bad_image_is_a_sentence(
    implementation: Implementation, change: dict[str, Any], words: str
) -> None:
    encode, decode = implementation
    message = encode(np.zeros((2, 2, 3), np.uint8), 1, "optical")
    for field, value in change.items():
        setattr(message, field, value)
    with pytest.raises(ConversionError, match=words):
        decode(message)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "bad", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)]
)
def test_only_uint8_rgb_is_published(implementation: Implementation, bad: np.ndarray) -> None:
    with pytest.raises(ConversionError, match="uint8"):
        implementation[0](bad, 1, "optical")


def test_camera_info_carries_the_intrinsics() -> None:
    k = np.array([[600.0, 0, 64], [0, 610, 60], [0, 0, 1]])
    info = images.camera_info_to_msg(128, 120, k, 7, "optical")
    np.testing.assert_array_equal(info.k.reshape(3, 3), k)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], k)
    assert (info.width, info.height, len(info.d)) == (128, 120, 5)
