# SPDX-License-Identifier: Apache-2.0
"""Writes a LeRobot dataset, format v3.0: many episodes per parquet and video file, tasks, episodes and statistics.

Only pyarrow and the bundled ffmpeg are needed, not the lerobot package, which brings torchvision and CUDA. Layout:

    README.md  meta/info.json  meta/stats.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet
    videos/observation.images.fixed/chunk-000/file-000.mp4      (images="video")
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from physgen_control.errors import UserError
from physgen_control.messages.topics import CAMERAS
from physgen_control.program.folder_lock import LOCK_FILE, folder_lock
from physgen_policy.data.dataset import DatasetError
from physgen_policy.data.lerobot.card import dataset_card
from physgen_policy.data.lerobot.episode import LerobotEpisode
from physgen_policy.data.lerobot.features import image_key
from physgen_policy.data.lerobot.file_place import DATA_FILE_MB, VIDEO_FILE_MB, FilePlace
from physgen_policy.data.lerobot.metadata import dataset_info, task_table
from physgen_policy.data.lerobot.stats import Stats, image_stats, merge_stats, sampled_images, vector_stats
from physgen_policy.data.lerobot.video_files import VideoFiles

IMAGES = ("video", "png")


class LerobotWriter:
    """Writes `folder.partial` and renames it when finished; use as a context manager.

    Args:
        folder: Dataset folder to create.
        fps: Control steps per second, a whole number (the format stores an integer).
        images: "video" (H.264, lossy) or "png" (lossless, in the parquet files).
        data_file_bytes: Size at which a parquet file is closed.
        video_file_bytes: Size at which a video file is closed.

    Raises:
        DatasetError: The folder exists, the rate is not whole, or pyarrow is not installed.
        UserError: Another command writes the same dataset.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fps: float,
        images: str = "video",
        data_file_bytes: int = DATA_FILE_MB * 2**20,
        video_file_bytes: int = VIDEO_FILE_MB * 2**20,
    ) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise DatasetError(
                "a LeRobot dataset needs pyarrow, which `./physgen convert --format lerobot` installs"
            )
        if images not in IMAGES:
            raise DatasetError(f"images must be one of {', '.join(IMAGES)}, got {images!r}")
        if fps != round(fps) or fps < 1:
            raise DatasetError(f"a LeRobot dataset has a whole number of frames per second, got {fps:g}")
        self.folder = folder
        self._root = folder.with_name(folder.name + ".partial")
        if folder.exists():
            raise DatasetError(f"{folder} exists already: choose a new --out folder or remove it")
        self._owned = ExitStack()
        self._owned.enter_context(folder_lock(self._root))
        # Nobody owned it: what is left of a conversion that was killed has no metadata and can be of no use.
        _clear(self._root)
        self._fps = round(fps)
        self._video = images == "video"
        self._data_limit = data_file_bytes
        self._videos = {
            camera: VideoFiles(self._root, image_key(camera), self._fps, video_file_bytes)
            for camera in CAMERAS
        }
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._robot = ""
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []  # of meta/episodes
        self._stats: list[dict[str, Stats]] = []
        self._frames = 0
        self._place = FilePlace()
        self._file: Any = None  # pyarrow.parquet.ParquetWriter

    def __enter__(self) -> LerobotWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with self._owned:
            self._close()
            if self._root.exists():
                shutil.rmtree(self._root, ignore_errors=True)

    @property
    def episodes(self) -> int:
        """Number of episodes so far."""
        return len(self._rows)

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        return self._frames

    def add(self, episode: LerobotEpisode) -> None:
        """Append one episode; an episode that cannot be decoded to its end leaves the dataset as it was.

        Raises:
            DatasetError: Other image sizes or another robot than the episodes before.
            BagError: An image is damaged.
        """
        count = len(episode)
        stats = {image_key(camera): self._look_at(episode, camera) for camera in CAMERAS}
        self._check_robot(episode)
        task = self._tasks.setdefault(episode.task, len(self._tasks))
        index = np.arange(count, dtype=np.int64)
        columns: dict[str, NDArray[Any]] = {
            "observation.state": episode.state,
            "action": episode.action,
            "is_intervention": episode.is_intervention,
            "is_label": episode.is_label,
            "timestamp": (index / self._fps).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(count, self.episodes, np.int64),
            "index": index + self._frames,
            "task_index": np.full(count, task, np.int64),
        }
        stats |= {name: vector_stats(values.reshape(count, -1)) for name, values in columns.items()}
        row: dict[str, Any] = {
            "episode_index": self.episodes,
            "tasks": [episode.task],
            "length": count,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
            "source": episode.source,
        }
        if self._video:
            row |= self._add_video(episode)
        row |= self._add_table(columns, episode)
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        for name, values in stats.items():
            row |= {f"stats/{name}/{key}": value.tolist() for key, value in values.items()}
        self._rows.append(row)
        self._stats.append(stats)
        self._frames += count

    def finish(self) -> Path:
        """Write the metadata, give the folder its name and return it.

        Raises:
            DatasetError: There is no episode.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            raise DatasetError("no usable episode was found, so no dataset was written")
        self._close()
        path = self._root / "meta/episodes/chunk-000/file-000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._rows), path)
        pq.write_table(task_table(list(self._tasks)), self._root / "meta/tasks.parquet")
        merged = {name: merge_stats([stats[name] for stats in self._stats]) for name in self._stats[0]}
        plain = {name: {key: v.tolist() for key, v in values.items()} for name, values in merged.items()}
        self._write_json("meta/stats.json", plain)
        info = dataset_info(
            robot=self._robot,
            episodes=self.episodes,
            frames=self._frames,
            tasks=len(self._tasks),
            fps=self._fps,
            shapes=self._shapes,
            video=self._video,
        )
        self._write_json("meta/info.json", info)
        card = dataset_card(self.folder.name, info, list(self._tasks))
        (self._root / "README.md").write_text(card, encoding="utf-8")
        (self._root / LOCK_FILE).unlink()
        self._root.rename(self.folder)
        return self.folder

    # --- parts of an episode ---

    def _look_at(self, episode: LerobotEpisode, camera: str) -> Stats:
        """Decode every image once before anything is written; return statistics of some of them.

        Raises:
            DatasetError: Images of several sizes, or of odd ones, which video cannot hold.
        """
        wanted = set(sampled_images(len(episode)))
        kept = []
        for frame in range(len(episode)):
            rgb = episode.image(camera, frame)
            shape = self._shapes.setdefault(camera, rgb.shape)
            if rgb.shape != shape:
                raise DatasetError(
                    f"{episode.source} has images of {rgb.shape[1]}x{rgb.shape[0]} from the camera {camera}, the "
                    f"dataset has {shape[1]}x{shape[0]}: give all one size with --image-size"
                )
            if self._video and (shape[0] % 2 or shape[1] % 2):
                raise DatasetError(
                    f"a video needs even image sides, got {shape[1]}x{shape[0]}: choose --images png or --image-size"
                )
            if frame in wanted:
                kept.append(rgb)
        return image_stats(kept)

    def _check_robot(self, episode: LerobotEpisode) -> None:
        self._robot = self._robot or episode.robot
        if episode.robot != self._robot:
            raise DatasetError(
                f"{episode.source} was recorded with the robot {episode.robot!r}, the dataset is of {self._robot!r}"
            )

    def _add_video(self, episode: LerobotEpisode) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for camera, video in self._videos.items():
            key = f"videos/{image_key(camera)}"
            row |= {f"{key}/chunk_index": video.place.chunk, f"{key}/file_index": video.place.file}
            row[f"{key}/from_timestamp"] = video.frames / self._fps
            for frame in range(len(episode)):
                video.add(episode.image(camera, frame))
            row[f"{key}/to_timestamp"] = video.frames / self._fps
            video.end_of_episode()
        return row

    def _add_table(self, columns: dict[str, NDArray[Any]], episode: LerobotEpisode) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {name: _arrow(values) for name, values in columns.items()}
        if not self._video:
            for camera in CAMERAS:
                pictures = [
                    {"bytes": _png(episode.image(camera, k)), "path": f"frame-{k:06d}.png"}
                    for k in range(len(episode))
                ]
                kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
                arrays[image_key(camera)] = pa.array(pictures, kind)
        table = pa.table(arrays)
        path = self._place.path(self._root, "data", ".parquet")
        if self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._file.write_table(table)
        row = {"data/chunk_index": self._place.chunk, "data/file_index": self._place.file}
        if path.stat().st_size >= self._data_limit:
            self._file.close()
            self._file = None
            self._place.next()
        return row

    # --- files ---

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        text = json.dumps(values, indent=4, ensure_ascii=False)
        (self._root / name).write_text(text + "\n", encoding="utf-8")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        for video in self._videos.values():
            try:
                video.close()
            except OSError as error:
                raise UserError(f"a video of {self.folder} could not be finished: {error}") from error


def _clear(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name != LOCK_FILE:
            item.unlink()


def _arrow(values: NDArray[Any]) -> Any:
    """Return a column: scalars [n], or lists of fixed length [n, d]."""
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _png(rgb: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()
