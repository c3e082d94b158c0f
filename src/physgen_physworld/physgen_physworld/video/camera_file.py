# SPDX-License-Identifier: Apache-2.0
"""camera.yaml: the calibration of the camera that sees the first picture of a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import normalized
from physgen_control.program.plain_values import read_yaml_mapping, yaml_text
from physgen_control.types import Float64Array, Pose
from physgen_physworld.camera import Camera

EXPECTED = (
    "it needs image_size: [height, width], matrix: nine numbers row by row (or fov_y: radians), and base_from_camera: "
    "{position: [x, y, z], quaternion: [x, y, z, w]} of the optical frame"
)


def read_camera(path: Path) -> Camera:
    """Read a camera.yaml.

    Raises:
        UserError: the file is missing or does not describe a camera.
    """
    if not path.is_file():
        raise UserError(
            f"There is no camera file {path}: a video is of no use without its camera; {EXPECTED}."
        )
    values = read_yaml_mapping(path)
    known = {"image_size", "matrix", "fov_y", "base_from_camera"}
    if unknown := sorted(map(str, set(values) - known)):
        raise UserError(f"{path} has the unknown key {unknown[0]!r}; {EXPECTED}.")
    height, width = (int(number) for number in _numbers(values, "image_size", 2, path))
    if min(height, width) < 1:
        raise UserError(f"image_size in {path} must be two positive numbers; {EXPECTED}.")
    if "matrix" in values:
        matrix = _numbers(values, "matrix", 9, path).reshape(3, 3)
    else:
        fov = values.get("fov_y")
        if not isinstance(fov, int | float) or not 0.0 < float(fov) < np.pi:
            raise UserError(f"{path} has neither a matrix nor a fov_y between 0 and pi; {EXPECTED}.")
        focal = height / (2.0 * np.tan(float(fov) / 2.0))
        matrix = np.array([[focal, 0.0, width / 2.0], [0.0, focal, height / 2.0], [0.0, 0.0, 1.0]])
    pose = values.get("base_from_camera")
    if not isinstance(pose, dict):
        raise UserError(f"{path} does not say where the camera stands; {EXPECTED}.")
    try:
        quaternion = normalized(_numbers(pose, "quaternion", 4, path))
    except ValueError as error:
        raise UserError(f"The quaternion in {path} names no rotation; {EXPECTED}.") from error
    return Camera(
        matrix=matrix,
        image_size=(height, width),
        base_from_camera=Pose(position=_numbers(pose, "position", 3, path), quaternion=quaternion),
    )


def camera_text(camera: Camera) -> str:
    """Return the text of a camera.yaml."""
    return yaml_text(
        {
            "image_size": list(camera.image_size),
            "matrix": [float(value) for value in camera.matrix.ravel()],
            "base_from_camera": {
                "position": [float(value) for value in camera.base_from_camera.position],
                "quaternion": [float(value) for value in camera.base_from_camera.quaternion],
            },
        }
    )


def _numbers(values: dict[str, Any], key: str, count: int, path: Path) -> Float64Array:
    entry = values.get(key)
    try:
        numbers = np.array(entry, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.all(np.isfinite(numbers)):
        raise UserError(f"{key} in {path} must be {count} numbers, but it is {entry!r}; {EXPECTED}.")
    return numbers
