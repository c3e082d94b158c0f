# SPDX-License-Identifier: Apache-2.0
"""Step one: the video, from any source, into the run's folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_physworld.camera import Camera
from physgen_physworld.pipeline.step_folder import StepFolder, save_picture, strip
from physgen_physworld.values import Video
from physgen_physworld.video.camera_file import camera_text, read_camera
from physgen_physworld.video.source import VideoSource, checked

FRAMES, CAMERA, REAL_CAMERA = "frames.npz", "camera.yaml", "real_camera.yaml"


def video_step(root: Path) -> StepFolder:
    """Return the step's folder."""
    return StepFolder(root=root, name="video")


def make_video(
    root: Path, source: VideoSource, inputs: Mapping[str, str], settings: Mapping[str, Any]
) -> bool:
    """Get the video; False if it was there already.

    Args:
        root: folder of the run.
        source: where the video comes from.
        inputs: hashes of the files that the source reads.
        settings: what names the source; among them, where the scene is simulated, task, seed and instruction.

    Raises:
        UserError: the source has none that could be used.
    """
    step = video_step(root)
    if step.is_done(inputs, settings):
        return False
    step.begin()
    video = source.video()
    with step.file(FRAMES).open("wb") as file:
        np.savez_compressed(file, frames=video.frames, period_s=np.array(video.period_s))
    step.file(CAMERA).write_text(camera_text(video.camera), encoding="utf-8")
    step.file(REAL_CAMERA).write_text(camera_text(video.real_camera or video.camera), encoding="utf-8")
    save_picture(strip(video.frames), step.picture_path)
    result = {
        "source": video.source,
        "pictures": len(video.frames),
        "size": list(video.frames.shape[1:3]),
        "period_s": video.period_s,
        "sha256": video.sha256,
    }
    step.finish(inputs, settings, result, (FRAMES, CAMERA, REAL_CAMERA))
    return True


def real_camera(root: Path) -> Camera:
    """Return the camera that takes the robot's pictures.

    Raises:
        UserError: the step has not been done, or its file is broken.
    """
    return read_camera(video_step(root).file(REAL_CAMERA))


def load_video(root: Path) -> Video:
    """Read the video of a run.

    Raises:
        UserError: the step has not been done, or its files are broken.
    """
    step = video_step(root)
    record = step.record()
    if record is None:
        raise UserError(f"{root} has no video yet: begin with `physgen physworld video {root}`.")
    try:
        with np.load(step.file(FRAMES), allow_pickle=False) as file:
            frames, period = file["frames"], float(file["period_s"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"The video in {step.path} is broken ({error}): remove it and make it again."
        ) from error
    return checked(
        Video(
            frames=frames,
            period_s=period,
            camera=read_camera(step.file(CAMERA)),
            source=str(record["result"]["source"]),
        )
    )
