# SPDX-License-Identifier: Apache-2.0
"""The film of a run: the video that was followed, the twin under the same actions, and what the robot really did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from physgen_control.types import Float32Array, Pose, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.scene.scene import Scene
from physgen_physworld.twin.drawing import draw_twin, seen_colours
from physgen_physworld.twin.twin import Properties, Twin

SIDE = 256
RATE_HZ = 10.0
HOLD = 10
"""The last picture is shown so often."""


def twin_pictures(
    scene: Scene, camera: Camera, first: UInt8Image, hand: Pose, actions: Sequence[Float32Array], every: int
) -> list[UInt8Image]:
    """Return what the twin does under a run's actions: before the first one, and after every `every`-th.

    Args:
        scene: that the run began in.
        camera: of the pictures.
        first: the first picture, which gives the boxes their colours.
        hand: where the hand was then.
        actions: canonical actions.
        every: control steps from one picture to the next.
    """
    twin = Twin(scene)
    twin.reset(Properties.middle(scene), hand)
    colours = seen_colours(first, camera, scene)
    pictures = [draw_twin(twin, camera, colours)]
    for step, action in enumerate(actions, start=1):
        twin.step(action)
        if step % every == 0:
            pictures.append(draw_twin(twin, camera, colours))
    return pictures


def side_by_side(rows: Sequence[tuple[str, Sequence[UInt8Image] | UInt8Image]]) -> Iterator[UInt8Image]:
    """Yield the pictures of a film: each series with its title, stretched to the longest one."""
    count = max(len(pictures) for _, pictures in rows)
    for number in [*range(count), *[count - 1] * HOLD]:
        columns = []
        for title, pictures in rows:
            index = round(number / max(count - 1, 1) * (len(pictures) - 1))
            column = cv2.resize(pictures[index], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            cv2.putText(column, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(
                column, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
            )
            columns.append(column)
        yield np.hstack(columns).astype(np.uint8)


def write_film(pictures: Iterator[UInt8Image], path: Path) -> None:
    """Write an mp4; the file is there whole or not at all."""
    import imageio_ffmpeg

    partial = path.with_name(f".{path.stem}.partial.mp4")
    writer = None
    for picture in pictures:
        if writer is None:
            size = (picture.shape[1], picture.shape[0])
            writer = imageio_ffmpeg.write_frames(str(partial), size, fps=RATE_HZ, macro_block_size=2)
            writer.send(None)
        writer.send(np.ascontiguousarray(picture))
    if writer is not None:
        writer.close()
        partial.rename(path)
