# SPDX-License-Identifier: Apache-2.0
"""The real picture that a generated video begins with: of a file, or of a simulated scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.video.oracle import maniskill_camera
from physgen_physworld.video.view import OBJECT_VIEW


def read_picture(path: Path) -> UInt8Image:
    """Return a picture file as uint8 [y, x, 3], RGB.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise UserError(f"There is no picture {path}.")
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is no picture that can be read ({error}): use a PNG or JPEG.") from error


def maniskill_picture(task: str, seed: int) -> tuple[UInt8Image, Camera]:
    """Return the fixed camera's first picture of a scene, and the camera."""
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    world = ManiSkillWorld(task, image_size=OBJECT_VIEW.height)
    try:
        return world.reset(seed).rgb_fixed, maniskill_camera(task, OBJECT_VIEW.height)
    finally:
        world.close()
