# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobot dataset, format v3.0, whose actions are those of this project; the lerobot package is not needed.

The layout is the one that `writer.py` describes. Only the columns `action` and `episode_index`, the pictures of two
cameras and the table of episodes are used; `is_label` and `is_intervention` where they are there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image as PilImage

from physgen_control.messages.topics import CAMERAS
from physgen_control.program.plain_values import read_json_object, shown
from physgen_control.types import ACTION_DIM, UInt8Image
from physgen_policy.contract.splice import splice_views
from physgen_policy.data.dataset import DatasetError, EpisodeRecord
from physgen_policy.data.lerobot.features import ACTION_KEY, ACTION_NAMES, image_key
from physgen_policy.data.lerobot.video_reader import MAX_SIDE, VideoReader

VERSION = "v3."
MAX_STEP_M = 0.2
"""An action that moves the hand further in one step is not in metres."""
DAMAGE = (pa.ArrowException, OSError, KeyError, ValueError, TypeError, IndexError)


class LerobotReader:
    """The episodes of a dataset; use as a context manager.

    Args:
        folder: The dataset, with meta/info.json.
        cameras: Feature name of our cameras, where it is another than `observation.images.<camera>`.
        trust_actions: Take the action column for `ACTION_NAMES` whatever its names say.

    Raises:
        DatasetError: It is no such dataset, has other actions, or lacks a camera.
    """

    def __init__(self, folder: Path, *, cameras: Mapping[str, str], trust_actions: bool = False) -> None:
        self.folder = folder
        info = read_json_object(folder / "meta" / "info.json", DatasetError)
        version = str(info.get("codebase_version"))
        if not version.startswith(VERSION):
            raise DatasetError(
                f"{folder} is a LeRobot dataset of format {version}, format v3.0 is read: convert it with lerobot's "
                "own script for that"
            )
        features = info.get("features")
        if not isinstance(features, dict):
            raise DatasetError(f"{folder / 'meta/info.json'} names no features")
        self._features: dict[str, Any] = features
        self.keys = {camera: cameras.get(camera, image_key(camera)) for camera in CAMERAS}
        self._check_cameras()
        self._check_actions(trust_actions)
        try:
            self.fps = float(info["fps"])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{folder / 'meta/info.json'} says no frames per second") from error
        self.robot = str(info.get("robot_type") or "unknown")
        self._paths = {key: str(info.get(key) or "") for key in ("data_path", "video_path")}
        self._videos = {camera: VideoReader() for camera in CAMERAS}
        self._table: tuple[Path, Any] | None = None
        self.rows = self._read_rows()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for video in self._videos.values():
            video.close()

    def episode(self, number: int, view: tuple[int, int], task: str = "") -> EpisodeRecord:
        """Return one episode: its T frames become T - 1 steps, since the picture after the last action is not there.

        Args:
            number: Position in `rows`.
            view: Rows and columns of one camera's picture in the dataset [pixels].
            task: Name of the task; "" takes the instruction.

        Raises:
            DatasetError: A file of it is missing or damaged, or its numbers cannot be our actions.
        """
        row = self.rows[number]
        name = f"episode {row.get('episode_index', number)} of {self.folder}"
        try:
            columns = self._columns(row)
            actions = self._actions(name, columns)
            images = np.stack([self._picture(columns, row, k, view) for k in range(len(actions) + 1)])
            flags = {key: _flags(columns, key, len(actions)) for key in ("is_label", "is_intervention")}
            instruction = str(row["tasks"][0])
        except DAMAGE as error:
            raise DatasetError(f"{name} cannot be read: {error!r}") from error
        labels, intervention = flags["is_label"], flags["is_intervention"]
        return EpisodeRecord(
            images=images,
            actions=actions,
            labels=np.ones(len(actions), np.bool_) if labels is None else labels,
            intervention=np.zeros(len(actions), np.bool_) if intervention is None else intervention,
            task=task or instruction,
            seed=int(row["episode_index"]),
            instruction=instruction,
            success=True,
            source=str(row.get("source") or name),
        )

    def content_sha256(self, number: int) -> str:
        """Return a hash of what the table of episodes says of one: its place, length, tasks and statistics."""
        return hashlib.sha256(json.dumps(self.rows[number], sort_keys=True, default=str).encode()).hexdigest()

    def _check_cameras(self) -> None:
        there = sorted(
            key for key, value in self._features.items() if _of(value, "dtype") in ("video", "image")
        )
        for camera, key in self.keys.items():
            if key not in there:
                raise DatasetError(
                    f"{self.folder} has no pictures {key!r} for the camera {camera}; it has "
                    f"{', '.join(there) or 'none'}: name one with --camera {camera}=NAME"
                )

    def _check_actions(self, trust: bool) -> None:
        feature = self._features.get(ACTION_KEY)
        shape, names = _of(feature, "shape"), _flat(_of(feature, "names"))
        if shape not in ([ACTION_DIM], (ACTION_DIM,)):
            raise DatasetError(
                f"{self.folder} has actions of the shape {shown(shape)}, expected {ACTION_DIM} numbers"
            )
        if not trust and names != list(ACTION_NAMES):
            raise DatasetError(
                f"{self.folder} has actions named {shown(names)}, expected {', '.join(ACTION_NAMES)}: translation [m] "
                "and rotation vector [rad] of one step in the base frame, gripper +1 open and -1 closed. If they are "
                "that under other names, say so with --trust-actions"
            )

    def _read_rows(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / "meta" / "episodes").glob("*/*.parquet"))
        try:
            rows = [row for file in files for row in pq.read_table(file).to_pylist()]
            rows.sort(key=lambda row: int(row["episode_index"]))
        except DAMAGE as error:
            raise DatasetError(f"{self.folder / 'meta/episodes'} cannot be read: {error!r}") from error
        if not rows:
            raise DatasetError(f"{self.folder} holds no episode")
        return rows

    def _columns(self, row: Mapping[str, Any]) -> Any:
        path = self._path("data_path", row, "data")
        if self._table is None or self._table[0] != path:
            self._table = (path, pq.read_table(path))
        table = self._table[1]
        return table.filter(pa.compute.equal(table["episode_index"], row["episode_index"]))

    def _path(self, kind: str, row: Mapping[str, Any], of: str, **more: str) -> Path:
        place = {key: int(row[f"{of}/{key}"]) for key in ("chunk_index", "file_index")}
        path = (self.folder / self._paths[kind].format(**place, **more)).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise DatasetError(f"{self.folder / 'meta/info.json'} names the file {path} outside the dataset")
        return path

    def _actions(self, name: str, columns: Any) -> NDArray[np.float32]:
        actions = np.array(columns[ACTION_KEY].to_pylist(), np.float32)[:-1]
        if len(actions) < 1:
            raise DatasetError(f"{name} has {len(columns)} frames, at least 2 are needed")
        if not np.isfinite(actions).all():
            raise DatasetError(f"{name} has an action that is not finite")
        far, gripper = float(np.abs(actions[:, :3]).max()), float(np.abs(actions[:, 6]).max())
        if far > MAX_STEP_M:
            raise DatasetError(
                f"{name} moves {far:g} in one step, expected metres, at most {MAX_STEP_M:g}: are its actions poses, or "
                "normalised?"
            )
        if gripper > 1.001:
            raise DatasetError(f"{name} has the gripper at {gripper:g}, expected -1 (closed) to 1 (open)")
        return actions

    def _picture(self, columns: Any, row: Mapping[str, Any], frame: int, view: tuple[int, int]) -> UInt8Image:
        pictures = [self._image(columns, row, camera, frame) for camera in CAMERAS]
        return splice_views(pictures[0], pictures[1], *view)

    def _image(self, columns: Any, row: Mapping[str, Any], camera: str, frame: int) -> UInt8Image:
        key = self.keys[camera]
        if key in columns.column_names:
            with PilImage.open(io.BytesIO(columns[key][frame].as_py()["bytes"])) as picture:
                if max(picture.size) > MAX_SIDE:
                    raise DatasetError(f"a picture is {picture.size}, sides of at most {MAX_SIDE} are read")
                return np.asarray(picture.convert("RGB"))
        of = f"videos/{key}"
        first = round(float(row[f"{of}/from_timestamp"]) * self.fps)
        return self._videos[camera].read(self._path("video_path", row, of, video_key=key), first + frame)


def _of(feature: Any, key: str) -> Any:
    return feature.get(key) if isinstance(feature, dict) else None


def _flat(names: Any) -> list[str]:
    """Return names that may lie one level deeper, such as {"motors": [...]}."""
    values = list(names.values()) if isinstance(names, dict) else [names]
    return [str(name) for value in values if isinstance(value, list) for name in value]


def _flags(columns: Any, key: str, count: int) -> NDArray[np.bool_] | None:
    if key not in columns.column_names:
        return None
    return np.array(columns[key].to_pylist(), np.bool_).reshape(-1)[:count]
