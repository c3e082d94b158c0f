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

from physgen_policy.peer.imports import prepare


def main(words: list[str]) -> None:
    """Print one JSON object."""
    prepare()
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
