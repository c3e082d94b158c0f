# SPDX-License-Identifier: Apache-2.0
"""Recorded bags in the viewer: their messages in the order of their times, through the same scene as live ones."""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from physgen_bringup.graph import our_nodes
from physgen_bringup.graph.arguments import arguments_from
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.viewer.feed import BY_TOPIC, Feed
from physgen_bringup.viewer.prediction import ActionLimits, limits_of
from physgen_bringup.viewer.scene import Scene
from physgen_control.bags.errors import BagError
from physgen_control.bags.source import DAMAGE, connections_of, open_bag, store_of
from physgen_control.bags.summary import BagSummary
from physgen_control.errors import UserError
from physgen_control.messages import read, topics
from physgen_control.messages.read import ConversionError
from physgen_control.types import CameraFrame

MERGE = 4096
"""So many messages are put in the order of their stamps before the first is shown: more than a second of a graph."""


def show_bag(bag: Path, summary: BagSummary, recording: Any) -> int:
    """Draw a whole bag into a recording of the viewer and return the number of messages that could not be understood.

    Raises:
        BagError: The bag is damaged; what was read before is drawn.
    """
    scene = Scene(recording, limits=recorded_limits(summary), robot=summary.robot)
    left_out = 0
    for topic, message, to_value in _messages(bag):
        try:
            value = to_value(message)
        except (ConversionError, OSError, ValueError):
            left_out += 1
            continue
        scene.show(topic, value)
    return left_out


def recorded_limits(summary: BagSummary) -> ActionLimits | None:
    """Return the limits that our controller has for the world of a bag; None for a world that is not ours."""
    source = summary.custom_data.get("source", "")
    sim = "none" if source == "real" else source
    try:
        arguments = arguments_from({"sim": sim, "task": summary.task, "policy": "none", "teleop": "keyboard"})
        return limits_of(controller_config(our_nodes.controller(arguments)))
    except UserError:
        return None


def _messages(bag: Path) -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    """Yield topic, message and its conversion in the order of header stamps.

    Arrival alone is not enough: a pose may arrive after the chunk that starts at it.

    Raises:
        BagError: The bag is damaged.
    """
    order = {topic: place for place, topic in enumerate(BY_TOPIC)}
    waiting: list[tuple[int, int, int, str, Any, Callable[[Any], Any]]] = []
    try:
        with open_bag(bag) as reader:
            store = store_of(reader)
            feeds = _feeds()
            chosen = connections_of(reader, *feeds)
            for number, (connection, logged_ns, data) in enumerate(reader.messages(chosen)):
                feed = feeds[connection.topic]
                message: Any = store.deserialize_cdr(data, connection.msgtype)
                header = getattr(message, "header", None)
                stamp_ns = read.stamp_to_ns(header.stamp) if header is not None else logged_ns
                if feed.topic == topics.EPISODE_INFO and message.phase != 1:
                    stamp_ns = logged_ns  # its stamp is that of the first observation; it ends the episode
                if feed.topic == topics.TF_STATIC:
                    stamp_ns = 0
                entry = (stamp_ns, order[feed.topic], number, feed.topic, message, feed.to_value)
                heapq.heappush(waiting, entry)
                if len(waiting) > MERGE:
                    yield heapq.heappop(waiting)[3:]
    except DAMAGE as error:
        raise BagError(
            f"The bag {bag} cannot be read: {error} Recover it with `physgen repair {bag}`."
        ) from error
    while waiting:
        yield heapq.heappop(waiting)[3:]


def _feeds() -> dict[str, Feed]:
    """Return the feeds by the topic in the bag: images may be there as JPEG."""
    jpeg = {
        topics.image_topic(camera, compressed=True): Feed(
            topic=topics.image_topic(camera), type="sensor_msgs/msg/CompressedImage", to_value=_decoded
        )
        for camera in topics.CAMERAS
    }
    return {**BY_TOPIC, **jpeg}


def _decoded(message: Any) -> CameraFrame:
    with PilImage.open(io.BytesIO(bytes(message.data))) as image:
        rgb = np.array(image.convert("RGB"), np.uint8)
    header = message.header
    return CameraFrame(stamp_ns=read.stamp_to_ns(header.stamp), rgb=rgb, frame_id=header.frame_id)
