# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset, trained on: a shipped policy learns from somebody else's demonstrations.

    ./physgen setup --lerobot
    ./physgen python examples/train_on_lerobot.py lerobot/drawer runs/drawer [STEPS]

Its actions must be steps of the hand, see docs/real_robot/recording.md; `convert --help` tells how to name its cameras.
"""

import sys
from pathlib import Path

from physgen_policy.commands import convert, train


def main() -> None:
    dataset, run = Path(sys.argv[1]), Path(sys.argv[2])
    steps = sys.argv[3] if len(sys.argv) > 3 else "2000"
    convert.main([str(dataset), "--out", str(run / "dataset")])
    words = ["--finetune", "pushcube-tiny", "--dataset", str(run / "dataset")]
    train.main([*words, "--out", str(run / "train"), "--steps", steps])


if __name__ == "__main__":
    main()
