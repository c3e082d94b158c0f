# SPDX-License-Identifier: Apache-2.0
"""The images of one camera in a bag: their stamps in memory, their bytes on the disk until they are asked for."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage
from PIL import UnidentifiedImageError
from rosbags.rosbag2 import Reader

from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.bags.errors import BagError
from physgen_control.bags.source import DAMAGE, connections_of, open_bag, store_of
from physgen_control.messages import read
from physgen_control.types import CameraFrame, UInt8Image

READ_ON = 8
"""So many images further on it is cheaper to read what lies between than to look the place up again."""


class ImageStream:
    """The images of one camera in acquisition order, one per stamp; only the one asked for is in memory.

    Reading forwards is cheapest; every other order works.

    Args:
        camera: Name of the camera.
        path: The bag.
        topic: The topic of the images, `sensor_msgs/msg/Image` or `CompressedImage`.
        logged_ns: When each image was written into the bag, by its stamp [ns].
    """

    def __init__(self, camera: str, path: Path, topic: str, logged_ns: dict[int, int]) -> None:
        self.camera = camera
        self.stamps_ns = np.array(sorted(logged_ns), np.int64)
        """int64 [n], strictly increasing."""
        self._logged_ns = [logged_ns[int(stamp)] for stamp in self.stamps_ns]
        self._path, self._topic = path, topic
        self._reader: Reader | None = None
        self._messages: Iterator[tuple[Any, int, bytes]] = iter(())
        self._next = len(self.stamps_ns)  # the image after the one that `_messages` gave last
        self._given_ns = 0  # when that one was logged

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def frame(self, index: int) -> CameraFrame:
        """Return the image at `index` as RGB, uint8 [height, width, 3], with its stamp and optical frame.

        Raises:
            BagError: It is damaged, or the bag has changed.
        """
        index = range(len(self))[index]
        try:
            kind, data = self._raw(index)
            message: Any = self._store.deserialize_cdr(data, kind)
            if kind == "sensor_msgs/msg/Image":
                return read.image_from_msg(message)
            with PilImage.open(io.BytesIO(bytes(message.data))) as image:
                rgb = np.array(image.convert("RGB"), np.uint8)
        except (UnidentifiedImageError, *DAMAGE) as error:
            self._next = len(self)
            raise BagError(
                f"Image {index} of the camera {self.camera!r} cannot be decoded: {error}"
            ) from error
        header = message.header
        return CameraFrame(stamp_ns=read.stamp_to_ns(header.stamp), rgb=rgb, frame_id=header.frame_id)

    def rgb(self, index: int) -> UInt8Image:
        """Return the pixels at `index`, uint8 [height, width, 3].

        Raises:
            BagError: They are damaged, or the bag has changed.
        """
        return self.frame(index).rgb

    def _raw(self, index: int) -> tuple[str, bytes]:
        """Return type and CDR bytes of the message at `index`.

        Raises:
            BagError: The bag has changed since it was opened.
        """
        stamp = int(self.stamps_ns[index])
        wanted_ns = self._logged_ns[index]
        if not (self._next <= index < self._next + READ_ON and wanted_ns > self._given_ns):
            self._messages = self._open().messages(self._connections, start=wanted_ns)
        for connection, _, data in self._messages:
            if header_stamp_ns(data) == stamp:
                self._next, self._given_ns = index + 1, wanted_ns
                return connection.msgtype, data
        raise BagError(f"the bag {self._path} has changed since it was opened")

    def _open(self) -> Reader:
        if self._reader is None:
            reader = open_bag(self._path)
            reader.open()
            weakref.finalize(self, reader.close)
            self._connections = connections_of(reader, self._topic)
            self._store = store_of(reader)
            self._reader = reader
        return self._reader
