# SPDX-License-Identifier: Apache-2.0
"""Where the cameras are: the calibration YAML that becomes static transforms, read, checked and written. No ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import quaternion_from_matrix
from physgen_control.program.plain_values import read_yaml, shown, yaml_text
from physgen_control.types import Float64Array

CAMERAS = ("fixed_camera", "wrist_camera")
PARENTS = {"fixed": "base", "wrist": "fr3_hand_tcp"}
"""Frames in which the graph measures: poses of the hand are those of the tool centre point."""
_UNIT = 1e-3
_FAR = 1e6
"""No camera is farther away [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounting:
    """Where one camera is: its pose from the frame `parent` to the frame `child`."""

    name: str
    parent: str
    child: str
    translation: tuple[float, float, float]
    """In m."""
    quaternion: tuple[float, float, float, float]
    """Unit (x, y, z, w)."""


LINK_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Turn from a camera's link (x ahead, y left, z up) to its optical frame (x right, y down, z ahead), see REP 103."""


def mounting_of(
    camera: str,
    optical: Float64Array,
    parent: str = "",
    child: str = "",
    optical_in_link: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Mounting:
    """Return the entry of a camera whose optical frame is known.

    Args:
        camera: "fixed" or "wrist".
        optical: Pose of the optical frame in the parent, float64 [4, 4] in m.
        parent: A frame; empty: the one in which the graph measures, see PARENTS.
        child: The camera's link, from which its driver leads on to the optical frame; empty: the graph's own.
        optical_in_link: Where the driver puts the optical frame in the link [m].
    """
    link = optical[:3, :3] @ LINK_FROM_OPTICAL.T
    x, y, z = (round(float(v), 6) for v in optical[:3, 3] - link @ np.array(optical_in_link))
    qx, qy, qz, qw = (round(float(v), 7) for v in quaternion_from_matrix(link))
    return Mounting(
        name=f"{camera}_camera",
        parent=parent or PARENTS[camera],
        child=child or f"{camera}_link",
        translation=(x, y, z),
        quaternion=(qx, qy, qz, qw),
    )


def with_mounting(path: Path, mounting: Mounting) -> tuple[Mounting, ...]:
    """Return the entries of a calibration file, which may not exist yet, with one of them replaced.

    Raises:
        UserError: The file is there and is none.
    """
    before = {m.name: m for m in read_calibration(path, whole=False)} if path.exists() else {}
    entries = {**before, mounting.name: mounting}
    return tuple(entries[name] for name in CAMERAS if name in entries)


def calibration_text(mountings: tuple[Mounting, ...]) -> str:
    """Return the YAML that read_calibration reads."""
    entries = {
        m.name: {
            "parent": m.parent,
            "child": m.child,
            "translation": list(m.translation),
            "quaternion_xyzw": list(m.quaternion),
        }
        for m in mountings
    }
    return yaml_text(entries)


def read_calibration(path: Path, *, whole: bool = True) -> tuple[Mounting, ...]:
    """Return the mountings of both cameras.

    Args:
        path: The file.
        whole: Both have to be there; otherwise those are returned that are.

    Raises:
        UserError: One sentence: the file, the entry and what is wrong with it.
    """
    try:
        values = read_yaml(path)
    except UserError as error:
        raise UserError(f"calibration_file:={path} cannot be read; give a YAML file: {error}") from error
    if not isinstance(values, dict) or (set(values) != set(CAMERAS) if whole else set(values) - set(CAMERAS)):
        raise UserError(
            f"calibration_file:={path} must have the entries {' and '.join(CAMERAS)} and no other; "
            "`physgen camera calibrate` writes one"
        )
    return tuple(_mounting(path, name, values[name]) for name in CAMERAS if name in values)


def _mounting(path: Path, name: str, values: Any) -> Mounting:
    where = f"calibration_file:={path}, {name}"
    keys = {"parent", "child", "translation", "quaternion_xyzw"}
    if not isinstance(values, dict) or set(values) != keys:
        raise UserError(f"{where} must have the keys {', '.join(sorted(keys))} and no other")
    if not all(isinstance(values[key], str) and values[key] for key in ("parent", "child")):
        raise UserError(f"{where}: parent and child must be names of frames")
    x, y, z = _numbers(where, "translation", values["translation"], 3)
    qx, qy, qz, qw = _numbers(where, "quaternion_xyzw", values["quaternion_xyzw"], 4)
    norm = math.sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    if abs(norm - 1.0) > _UNIT:
        raise UserError(f"{where}: the quaternion (x, y, z, w) must have length 1, it has {norm:.4g}")
    return Mounting(
        name=name,
        parent=values["parent"],
        child=values["child"],
        translation=(x, y, z),
        quaternion=(qx / norm, qy / norm, qz / norm, qw / norm),
    )


def _numbers(where: str, key: str, values: Any, count: int) -> list[float]:
    good = (
        isinstance(values, list)
        and len(values) == count
        # Compared before anything is computed: an integer of YAML may be too large for a float.
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= _FAR for v in values)
    )
    if not good:
        raise UserError(f"{where}: {key} must be {count} finite numbers, got {shown(values)}")
    return [float(value) for value in values]
