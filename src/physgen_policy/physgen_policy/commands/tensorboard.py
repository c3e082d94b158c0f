# SPDX-License-Identifier: Apache-2.0
"""`physgen tensorboard RUN...`: the curves and pictures of training runs in a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser

PORT = 6006


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen tensorboard",
        description="Show the curves and pictures of training runs with TensorBoard. It listens on this machine only.",
        examples=("physgen tensorboard", "physgen tensorboard runs/train/pushcube --port 6007"),
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("runs"), help="a run, or a folder of runs (default runs)"
    )
    parser.add_argument("--port", type=int, default=PORT, help="TCP port; 0: any that is free")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C.

    Raises:
        UserError: There is nothing to show, or the port is taken.
    """
    options = build_parser().parse_args(arguments)
    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress

    if not 0 <= options.port <= 65535:
        raise UserError(f"--port must be 0 to 65535, got {options.port}")
    if not any(options.folder.rglob("events.out.tfevents.*")):
        raise UserError(
            f"{options.folder} holds no curves of a training run; give a run folder of `physgen train`"
        )
    progress = Progress(bars=False)
    progress.say(f"TensorBoard shows {options.folder} at http://127.0.0.1:{options.port} until Ctrl-C")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(options.folder)]
    # Loopback only; its own default, made explicit.
    command += ["--host", "127.0.0.1", "--port", str(options.port)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
