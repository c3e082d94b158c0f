# SPDX-License-Identifier: Apache-2.0
"""`physgen peer-train DATASET --out RUN`: train a policy of lerobot with lerobot's own script, to compare with.

DATASET was written by `physgen convert --format lerobot`. What follows `--` goes to lerobot as it is.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser, add_out
from physgen_control.program.progress import Progress

if TYPE_CHECKING:
    from physgen_policy.peer.training import PeerTraining


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen peer-train",
        description=__doc__ or "",
        examples=("physgen peer-train datasets/pushcube-lerobot --type act --out runs/act",),
    )
    parser.add_argument("dataset", type=Path, help="LeRobot dataset folder")
    add_out(parser, "run folder", type=Path, required=True, metavar="RUN")
    parser.add_argument("--type", default="act", help="act (default) or diffusion")
    parser.add_argument("--steps", type=int, default=20000, help="optimizer steps (default 20000)")
    parser.add_argument(
        "--batch-size", type=int, default=32, help="rows per step, of all processes (default 32)"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=0.0, help="default: 1e-4 (act), lerobot's (diffusion)"
    )
    parser.add_argument("--no-state", action="store_true", help="act: only images, as PhysGen sees them")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--processes", type=int, default=1, help="processes that share a batch (default 1)")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads per process (default: the cores, shared)"
    )
    parser.add_argument(
        "--loaders", type=int, default=0, help="processes that decode images for each of them (default 0)"
    )
    parser.add_argument(
        "--save-every", type=int, default=0, help="steps between checkpoints (default: a quarter)"
    )
    parser.add_argument("--seed", type=int, default=1000, help="random seed (default 1000)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the run folder")
    return parser


def main(argv: list[str]) -> int:
    """Train, print how to evaluate what came out; return the exit status.

    Raises:
        UserError: An argument cannot be used, or lerobot's training failed.
    """
    split = argv.index("--") if "--" in argv else len(argv)
    options, passed_on = build_parser().parse_args(argv[:split]), argv[split + 1 :]
    from physgen_policy.peer.environment import lerobot_command, lerobot_environment
    from physgen_policy.peer.training import PeerTraining

    training = PeerTraining(
        dataset=options.dataset,
        out=options.out,
        type=options.type,
        steps=options.steps,
        batch_size=options.batch_size,
        processes=options.processes,
        device=_device(options.device),
        seed=options.seed,
        save_every=options.save_every or max(1, options.steps // 4),
        loaders=options.loaders,
        learning_rate=options.learning_rate,
        sees_state=not options.no_state,
    )
    words = training.resume_options() if options.resume else training.options()
    if not options.resume:
        _make_room(training)
    environment = lerobot_environment(os.environ)
    threads = options.threads or max(1, (os.cpu_count() or 1) // options.processes)
    environment["OMP_NUM_THREADS"] = str(threads)
    command = lerobot_command("train", *words, *passed_on)
    if options.processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={options.processes}"]
        command[2:2] = launcher
    progress = Progress(bars=False)
    progress.say(f"lerobot trains {options.type} on {options.dataset}; its run folder is {training.out}")
    with progress.stage("lerobot trains"):
        status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        raise UserError(f"lerobot's training ended with status {status}; what it printed says why")
    print(f"checkpoint: {training.out}")
    told = ("--policy", "lerobot", "--checkpoint", training.out, "--out", f"{training.out}-eval")
    progress.next("./physgen", "eval", *told)
    return 0


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _make_room(training: PeerTraining) -> None:
    """Remove an empty output folder, because lerobot wants to make it itself.

    Raises:
        UserError: The folder is in use.
    """
    out = training.out
    if training.resumable:
        raise UserError(f"{out} already holds a run; pass --resume to continue it or choose another --out")
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if out.exists():
        raise UserError(f"{out} exists already and holds no checkpoint; choose another --out or remove it")


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
