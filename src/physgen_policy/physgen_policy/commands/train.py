# SPDX-License-Identifier: Apache-2.0
"""`physgen train CONFIG`: demonstrations to a checkpoint folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def main(argv: list[str]) -> int:
    """Parse the command line, run the training, print where the checkpoint is."""
    parser = argparse.ArgumentParser(prog="physgen train", description=__doc__)
    parser.add_argument(
        "config", type=Path, help="YAML file, see src/physgen_policy/physgen_policy/config/train/"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    parser.add_argument("--output", help="run folder (overrides the file)")
    parser.add_argument("--dataset", action="append", help="dataset folder (repeatable; overrides the file)")
    parser.add_argument("--seed", type=int, help="random seed (overrides the file)")
    parser.add_argument("--device", help="cpu, cuda or auto (overrides the file)")
    parser.add_argument("--steps", type=int, help="steps of the policy stage (overrides the file)")
    parser.add_argument(
        "--init-from", help="checkpoint folder or shipped name to start from (overrides policy.init_from)"
    )
    options = parser.parse_args(argv)

    from physgen_policy.training.config import load_config
    from physgen_policy.training.run import TrainingRun

    overrides: dict[str, Any] = {
        key: value
        for key in ("output", "dataset", "seed", "device")
        if (value := getattr(options, key)) is not None
    }
    policy = {key: value for key in ("steps", "init_from") if (value := getattr(options, key)) is not None}
    config = load_config(options.config, overrides, policy)
    folder = TrainingRun(config, resume=options.resume).fit()
    print(f"checkpoint: {folder}")
    print(f"try it:     ./physgen launch task:=TASK checkpoint:={folder}")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
