# SPDX-License-Identifier: Apache-2.0
"""Runs lerobot's own training script with the options of the command line; in a process that exists for it alone.

Nothing of it is changed but the dataset, whose pushed and led steps are left out of the loss (labels.py).
"""

from __future__ import annotations

import os
import sys

from physgen_policy.peer.imports import prepare
from physgen_policy.peer.labels import with_labels


def main() -> None:
    """Train with the options of the command line."""
    prepare()
    from lerobot.datasets import factory
    from lerobot.scripts.lerobot_train import main as train

    factory.LeRobotDataset = with_labels(factory.LeRobotDataset)

    train()
    sys.stdout.flush()
    sys.stderr.flush()
    # The threads of a video decoder may never end at a regular exit.
    os._exit(0)


if __name__ == "__main__":
    main()
