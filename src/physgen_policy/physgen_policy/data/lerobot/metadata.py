# SPDX-License-Identifier: Apache-2.0
"""What the metadata of a LeRobot dataset says: meta/info.json and the table of tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from physgen_control.messages.topics import CAMERAS
from physgen_policy.data.lerobot.features import ACTION_NAMES, STATE_NAMES, image_key
from physgen_policy.data.lerobot.file_place import DATA_FILE_MB, FILE_PATTERN, FILES_PER_CHUNK, VIDEO_FILE_MB

CODEBASE_VERSION = "v3.0"


def dataset_info(
    *,
    robot: str,
    episodes: int,
    frames: int,
    tasks: int,
    fps: int,
    shapes: Mapping[str, tuple[int, ...]],
    video: bool,
) -> dict[str, Any]:
    """Return the content of meta/info.json.

    Args:
        robot: Its type, empty where nobody said it.
        episodes: In the whole dataset.
        frames: In the whole dataset.
        tasks: Different instructions.
        fps: Control steps per second.
        shapes: (height, width, 3) of the images of each camera.
        video: Whether the images lie in video files, not in the table.
    """
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": robot or None,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": f"data/{FILE_PATTERN}.parquet",
        "video_path": f"videos/{{video_key}}/{FILE_PATTERN}.mp4" if video else None,
        "features": _features(shapes, fps, video=video),
    }


def _features(shapes: Mapping[str, tuple[int, ...]], fps: int, *, video: bool) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for camera in CAMERAS:
        height, width, _ = shapes[camera]
        feature: dict[str, Any] = {
            "dtype": "video" if video else "image",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
        }
        if video:
            feature["info"] = {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            }
        features[image_key(camera)] = feature
    features |= {
        "observation.state": _feature("float32", len(STATE_NAMES), STATE_NAMES),
        "action": _feature("float32", len(ACTION_NAMES), ACTION_NAMES),
        "is_intervention": _feature("bool", 1),
        "is_label": _feature("bool", 1),
        "timestamp": _feature("float32", 1),
    }
    names = ("frame_index", "episode_index", "index", "task_index")
    return features | {name: _feature("int64", 1) for name in names}


def _feature(dtype: str, size: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": list(names) if names else None}


def task_table(tasks: list[str]) -> Any:
    """Return the task table as pandas would store it: the task is the index, `task_index` the only column."""
    import pyarrow as pa

    name = "__index_level_0__"
    described = [
        {"name": None, "field_name": field, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for field, kind, numpy in (("task_index", "int64", "int64"), (name, "unicode", "object"))
    ]
    described[0]["name"] = "task_index"
    pandas = {
        "index_columns": [name],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": described,
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    columns = {"task_index": pa.array(range(len(tasks)), pa.int64()), name: pa.array(tasks, pa.string())}
    return pa.table(columns).replace_schema_metadata({"pandas": json.dumps(pandas)})
