# SPDX-License-Identifier: Apache-2.0
"""Load a LeRobot dataset with the lerobot package and write what it gives as JSON; run in an interpreter that has it.

usage: lerobot_load.py DATASET ROW ...
"""

from __future__ import annotations

import json
import os
import sys
from importlib import metadata
from typing import Any

import torch


def without_cuda() -> Any:
    """Let torchvision's Python part load beside a CPU build of torch; keep the result alive.

    torchvision from the package index is built for CUDA: its compiled operators do not load, and describing them fails.
    The readers of lerobot need none of them, so their names are enough.
    """
    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def main(words: list[str]) -> None:
    """Print one JSON object."""
    operators = without_cuda()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("physgen/test", root=words[0], video_backend="pyav")
    items = {}
    for row in map(int, words[1:]):
        item = dataset[row]
        items[row] = {
            key: value.mean(dim=(1, 2)).tolist() if key.startswith("observation.images") else plain(value)
            for key, value in item.items()
        }
    found = {
        "version": metadata.version("lerobot"),
        "declared": operators is not None,
        "episodes": dataset.num_episodes,
        "frames": dataset.num_frames,
        "fps": dataset.fps,
        "features": {key: list(value["shape"]) for key, value in dataset.features.items()},
        "tasks": {str(task): int(index) for task, index in dataset.meta.tasks["task_index"].items()},
        "stats": {key: sorted(values) for key, values in dataset.meta.stats.items()},
        "items": items,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    # The decoder's threads may never end at a regular exit.
    os._exit(0)


def plain(value: Any) -> Any:
    """Return a tensor as numbers."""
    return value.tolist() if isinstance(value, torch.Tensor) else value


if __name__ == "__main__":
    main(sys.argv[1:])
