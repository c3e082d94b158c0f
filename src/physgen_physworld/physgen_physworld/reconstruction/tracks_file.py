# SPDX-License-Identifier: Apache-2.0
"""tracks.npz: poses of objects over time, from our tracker or from any other program (FoundationPose, CoTracker, ...).

Arrays: names [N] (text), sizes [N, 3] (m), positions [N, T, 3] (m) and quaternions [N, T, 4] (x, y, z, w) in the robot
base frame, confidence [N, T] (0 to 1, may be left out), period_s [] (s from one pose to the next).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_physworld.values import ObjectTrack, Tracks

FEWEST_POSES = 3
FARTHEST = 3.0
"""No table top is farther from the robot than this [m]: larger numbers are millimetres or another frame."""

EXPECTED = (
    "it needs names [N], sizes [N, 3] in metres, positions [N, T, 3] in metres and quaternions [N, T, 4] (x, y, z, w), "
    "both in the robot base frame, and period_s"
)


def save_tracks(tracks: Tracks, path: Path) -> None:
    """Write a tracks.npz; the file is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            names=np.array([track.name for track in tracks.objects]),
            sizes=np.array([track.size for track in tracks.objects]),
            positions=np.stack([track.positions for track in tracks.objects]),
            quaternions=np.stack([track.quaternions for track in tracks.objects]),
            confidence=np.stack([track.confidence for track in tracks.objects]),
            period_s=np.array(tracks.period_s),
        )
    partial.rename(path)


def import_tracks(path: Path) -> Tracks:
    """Read a tracks.npz.

    Raises:
        UserError: the file is missing, broken, or its arrays are not what they must be.
    """
    if not path.is_file():
        raise UserError(f"There is no track file {path}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise UserError(f"{path} is no track file ({error}): {EXPECTED}.") from error
    if missing := [
        name for name in ("names", "sizes", "positions", "quaternions", "period_s") if name not in arrays
    ]:
        raise UserError(f"{path} has no array {missing[0]!r}: {EXPECTED}.")
    names = [str(name) for name in np.atleast_1d(arrays["names"])]
    positions = _array(arrays, "positions", path)
    count = len(names)
    if positions.ndim != 3 or positions.shape[0] != count or positions.shape[2] != 3 or not count:
        raise UserError(f"positions in {path} has the shape {positions.shape} for {count} names: {EXPECTED}.")
    length = positions.shape[1]
    if length < FEWEST_POSES:
        raise UserError(f"The tracks in {path} have {length} poses, but at least {FEWEST_POSES} are needed.")
    quaternions = _shaped(_array(arrays, "quaternions", path), (count, length, 4), "quaternions", path)
    sizes = _shaped(_array(arrays, "sizes", path), (count, 3), "sizes", path)
    confidence = np.ones((count, length))
    if "confidence" in arrays:
        confidence = _shaped(_array(arrays, "confidence", path), (count, length), "confidence", path)
    period = float(np.asarray(arrays["period_s"], np.float64).reshape(-1)[0])
    if not np.isfinite(period) or period <= 0 or np.any(sizes <= 0):
        raise UserError(f"period_s and sizes in {path} must be positive: {EXPECTED}.")
    if float(np.abs(positions).max()) > FARTHEST:
        raise UserError(
            f"A position in {path} is {np.abs(positions).max():.3g} m from the robot: positions are metres in its "
            "base frame."
        )
    norms = np.linalg.norm(quaternions, axis=-1)
    if np.any(np.abs(norms - 1.0) > 0.01):
        raise UserError(
            f"A quaternion in {path} has the length {norms.flat[np.argmax(np.abs(norms - 1))]:.3g}, not 1."
        )
    tracks = [
        ObjectTrack(
            name=name,
            size=(float(sizes[row, 0]), float(sizes[row, 1]), float(sizes[row, 2])),
            positions=positions[row],
            quaternions=quaternions[row] / norms[row][:, None],
            confidence=np.clip(confidence[row], 0.0, 1.0),
        )
        for row, name in enumerate(names)
    ]
    return Tracks(objects=tuple(tracks), period_s=period, source=str(path))


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> Float64Array:
    try:
        values = np.asarray(arrays[name], np.float64)
    except ValueError as error:
        raise UserError(f"{name} in {path} must be numbers: {EXPECTED}.") from error
    if not np.all(np.isfinite(values)):
        raise UserError(
            f"{name} in {path} has a number that is not finite: fill gaps, with confidence 0 there."
        )
    return values


def _shaped(values: Float64Array, shape: tuple[int, ...], name: str, path: Path) -> Float64Array:
    if values.shape != shape:
        raise UserError(f"{name} in {path} has the shape {values.shape}, expected {shape}: {EXPECTED}.")
    return values
