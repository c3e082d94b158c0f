# SPDX-License-Identifier: Apache-2.0
"""`physgen train`: the training of physgen_policy; then what to type to try its checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from physgen_control.program.command_parser import CommandParser


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    from physgen_policy.commands.train import build_parser as parser_of_the_policy

    return parser_of_the_policy()


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; the last line evaluates what came out."""
    from physgen_bringup.commands.next_steps import after_training
    from physgen_control.program.progress import Progress
    from physgen_policy.commands.train import train

    progress = Progress(quiet=os.environ.get("RANK", "0") != "0")
    checkpoint = train(list(sys.argv[1:] if arguments is None else arguments), progress)
    from physgen_bringup.results.training_report import write_training_report  # needs more than --help may

    with progress.stage("drawing the report"):
        report = write_training_report(checkpoint.parent)
    if report is not None:
        progress.result(f"report: {report}")
    progress.next(*after_training(checkpoint))
    return 0


if __name__ == "__main__":
    sys.exit(main())
