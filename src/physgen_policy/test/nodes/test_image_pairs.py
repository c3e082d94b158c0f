# SPDX-License-Identifier: Apache-2.0
"""message_filters and our own synchronizer: the same pairs reach the context, whatever comes in which order."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the pip runtime or a ROS 2 installation")

from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import Header

from physgen_control.errors import UserError
from physgen_control.types import CameraFrame
from physgen_policy.contract.synchronizer import SyncedFrames, Synchronizer
from physgen_policy.nodes.image_pairs import ImagePairs, uses_message_filters

INSTALLED = importlib.util.find_spec("message_filters") is not None
needs_it = pytest.mark.skipif(not INSTALLED, reason="the ROS package message_filters is not installed")
STREAMS = ("fixed", "wrist")
SLOP_NS = 20_000_000
PERIOD_NS = 33_000_000


def test_a_missing_package_is_a_sentence_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert not uses_message_filters("auto")
    assert not uses_message_filters("builtin")
    with pytest.raises(UserError, match="needs the ROS package message_filters"):
        uses_message_filters("message_filters")


def message(stamp_ns: int) -> Any:
    header = Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))
    return SimpleNamespace(header=header, stamp_ns=stamp_ns)


def arrivals(jitter_ns: list[int], delays_ns: list[int], lost: set[int]) -> list[tuple[str, int]]:
    """Two cameras at 30 Hz: (camera, stamp) in the order of arrival."""
    images = []
    for index, (jitter, delay) in enumerate(zip(jitter_ns, delays_ns, strict=True)):
        stamp = 10**9 + (index // 2) * PERIOD_NS + jitter
        if index not in lost:
            images.append((stamp + delay, STREAMS[index % 2], stamp))
    return [(camera, stamp) for _, camera, stamp in sorted(images)]


def taken(images: list[tuple[str, int]], *, paired: bool) -> list[tuple[int, int]]:
    """Every pair that a reader gets who takes the next one after each image, as the gate does."""
    synchronizer = Synchronizer(STREAMS, slop_ns=SLOP_NS, queue_size=8)

    def put(camera: str, image: Any) -> None:
        pixels = np.zeros((1, 1, 3), np.uint8)
        synchronizer.put(camera, CameraFrame(stamp_ns=image.stamp_ns, rgb=pixels, frame_id=camera))

    pairs = ImagePairs(STREAMS, slop_s=SLOP_NS / 1e9, queue_size=8, on_image=put) if paired else None
    found: list[tuple[int, int]] = []
    after = 0
    for camera, stamp in images:
        (put if pairs is None else pairs.put)(camera, message(stamp))
        while isinstance(group := synchronizer.take(after, 2**62), SyncedFrames):
            found.append((group["fixed"].stamp_ns, group["wrist"].stamp_ns))
            after = group.stamp_ns + 1
    return found


@needs_it
@given(
    st.lists(st.tuples(st.integers(0, 6_000_000), st.integers(0, 12_000_000)), min_size=2, max_size=40),
    st.sets(st.integers(0, 39), max_size=6),
)
def test_cameras_that_agree_within_half_the_slop_give_the_same_pairs(
    timing: list[tuple[int, int]], lost: set[int]
) -> None:
    """As real ones do: started together, delivered in their order, some images lost."""
    images = arrivals([jitter for jitter, _ in timing], [delay for _, delay in timing], lost)
    assert taken(images, paired=True) == taken(images, paired=False)


@needs_it
def test_time_may_jump_back() -> None:
    seen: list[tuple[str, int]] = []
    pairs = ImagePairs(
        STREAMS, slop_s=0.02, queue_size=8, on_image=lambda name, m: seen.append((name, m.stamp_ns))
    )
    for start_ns in (50 * 10**9, 10**9):
        pairs.restart()
        for camera in STREAMS:
            pairs.put(camera, message(start_ns))
    assert seen == [(camera, start) for start in (50 * 10**9, 10**9) for camera in STREAMS]


@needs_it
def test_an_error_in_a_pair_is_raised_and_the_next_pair_comes() -> None:
    failures = [True, False]

    def on_image(name: str, image: Any) -> None:
        if name == "wrist" and failures.pop(0):
            raise ValueError("no picture")

    pairs = ImagePairs(STREAMS, slop_s=0.02, queue_size=8, on_image=on_image)
    pairs.put("fixed", message(10**9))
    with pytest.raises(ValueError, match="no picture"):
        pairs.put("wrist", message(10**9))
    pairs.put("fixed", message(2 * 10**9))
    pairs.put("wrist", message(2 * 10**9))
    assert failures == []
