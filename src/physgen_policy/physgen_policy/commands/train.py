# SPDX-License-Identifier: Apache-2.0
"""`physgen train`: demonstrations to a checkpoint folder, from new weights or from a checkpoint.

physgen train CONFIG
physgen train --finetune CHECKPOINT --bags BAGS --out RUN
physgen train --finetune CHECKPOINT --frames-only --bags BAGS --out RUN
"""

from __future__ import annotations

import argparse
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser, add_out
from physgen_control.program.progress import Progress

if TYPE_CHECKING:
    from physgen_policy.training.config import TrainConfig

POLICY_OPTIONS = ("steps", "init_from", "batch_size", "learning_rate", "lora_rank", "tuning")


def main(argv: list[str]) -> int:
    """Parse the command line, run the training, print where the checkpoint is; return the exit status.

    Raises:
        UserError: The configuration, the data or an argument cannot be used.
    """
    progress = Progress(quiet=os.environ.get("RANK", "0") != "0")  # torchrun's; the first process speaks
    folder = train(argv, progress)
    progress.next("./physgen", "launch", "task:=TASK", f"checkpoint:={folder}")
    return 0


def train(argv: list[str], progress: Progress) -> Path:
    """Run the training of a command line, tell its course, and return the checkpoint folder."""
    options = build_parser().parse_args(argv)
    source = options.config or options.finetune
    if source:
        progress.say(f"Training by {source}; the run folder is {options.output or 'the one it names'}")
    with progress.stage("loading the libraries"):
        from physgen_policy.training.run import TrainingRun
    config = _finetune_config(options, progress) if options.finetune else _config(options)
    progress.say(f"Run {config.name}: everything goes to {config.output}")
    folder = TrainingRun(config, resume=options.resume, progress=progress).fit()
    progress.say(f"checkpoint: {folder}")
    return folder


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen train",
        description="Demonstrations to a checkpoint folder, from new weights or from a checkpoint.",
        examples=(
            "physgen train src/physgen_policy/physgen_policy/config/train/pushcube_tiny.yaml --out runs/pushcube",
            "physgen train --finetune pushcube-tiny --bags bags/mine --out runs/mine",
        ),
        old_names={"--output": "--out"},
    )
    parser.add_argument(
        "config",
        type=Path,
        nargs="?",
        help="YAML file, see src/physgen_policy/physgen_policy/config/train/ (with --finetune: finetune_lora.yaml)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    add_out(parser, "run folder (overrides the file)", dest="output", metavar="RUN")
    parser.add_argument("--dataset", action="append", help="dataset folder (repeatable; overrides the file)")
    parser.add_argument("--seed", type=int, help="random seed (overrides the file)")
    parser.add_argument("--device", help="cpu, cuda or auto (overrides the file)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="overrides the file")
    parser.add_argument(
        "--track",
        choices=("wandb", "trackio"),
        help="send the numbers to this experiment tracker too (its package is yours to install; overrides the file)",
    )
    parser.add_argument("--steps", type=int, help="steps of the policy stage (overrides the file)")
    parser.add_argument("--batch-size", type=int, help="windows per step (overrides the file)")
    parser.add_argument("--learning-rate", type=float, help="highest learning rate (overrides the file)")
    parser.add_argument(
        "--init-from", help="checkpoint folder or shipped name to start from (overrides policy.init_from)"
    )
    tune = parser.add_argument_group("fine-tuning in one command")
    tune.add_argument(
        "--finetune", metavar="CHECKPOINT", help="checkpoint folder or shipped name to fine-tune"
    )
    tune.add_argument(
        "--bags", type=Path, action="append", help="recorded bags; converted into OUT/dataset (repeatable)"
    )
    tune.add_argument("--lora-rank", type=int, help="rank of the adapters (default 16)")
    tune.add_argument(
        "--full",
        dest="tuning",
        action="store_const",
        const="full",
        help="train every weight instead of adapters",
    )
    tune.add_argument(
        "--frames-only",
        action="store_true",
        help="train only what imagines frames; the policy acts as before, bit for bit",
    )
    return parser


def _config(options: argparse.Namespace) -> TrainConfig:
    from physgen_policy.training.config import load_config

    if options.frames_only:
        raise UserError(
            "--frames-only belongs to --finetune CHECKPOINT; in a file it is `policy.objective: frames`"
        )
    if options.config is None:
        raise UserError("give a training configuration, or --finetune CHECKPOINT with --bags and --out")
    if options.bags:
        raise UserError(
            "--bags belongs to --finetune; for a new model run `physgen convert` and pass --dataset"
        )
    return load_config(options.config, *_overrides(options))


def _finetune_config(options: argparse.Namespace, progress: Progress) -> TrainConfig:
    """Return the configuration of a fine-tune; converts the bags first if there are any.

    Raises:
        UserError: Options contradict each other, or the run folder is in use.
    """
    from physgen_policy.training.config import load_config

    if options.init_from:
        raise UserError("--finetune already names the checkpoint to start from; leave --init-from out")
    if not options.output:
        raise UserError("--finetune needs --out, the run folder that gets the dataset and the checkpoint")
    if bool(options.bags) == bool(options.dataset):
        raise UserError(
            "--finetune needs recordings: --bags FOLDER, or --dataset FOLDER if they are converted"
        )
    run = Path(options.output)
    if (run / "config.yaml").exists() and not options.resume:
        raise UserError(f"{run} already holds a run; pass --resume to continue it or choose another output")
    options.init_from = options.finetune
    if options.bags and options.resume and (run / "run.json").exists():
        # What is trained on must not change under a run; a new one takes new bags.
        progress.say(f"resumed with the episodes in {run / 'dataset'}; the bags are not converted again")
        options.dataset = [str(run / "dataset")]
    elif options.bags:
        options.dataset = [str(_convert(options, run / "dataset", progress))]
    overrides, policy = _overrides(options)
    if options.config is not None:
        return load_config(options.config, overrides, policy)
    name = "frames_only.yaml" if options.frames_only else "finetune_lora.yaml"
    default = resources.files("physgen_policy").joinpath(f"config/train/{name}")
    with resources.as_file(default) as path:
        return load_config(path, {"name": run.name, **overrides}, policy)


def _convert(options: argparse.Namespace, out: Path, progress: Progress) -> Path:
    """Convert the bags to what the checkpoint sees; of several processes only the first does. Return the dataset."""
    from accelerate import PartialState

    from physgen_policy.checkpoint import read_description, resolve_checkpoint
    from physgen_policy.data.bags_to_dataset import convert_bags

    sees = read_description(resolve_checkpoint(options.finetune, "")).embodiment
    state = PartialState(cpu=options.device == "cpu")
    if state.is_main_process:
        done = convert_bags(
            options.bags,
            out,
            view=(sees.image_height, sees.image_width),
            rate_hz=sees.control_rate_hz,
            track=lambda paths: progress.track(paths, "converting bags"),
        )
        progress.say("\n".join(done.lines(out)))
        done.report.check()
    state.wait_for_everyone()
    return out


def _overrides(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the top-level keys, and the keys of the policy stage, that the command line gives."""

    def given(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(options, name)) is not None}

    return given(("output", "dataset", "seed", "device", "precision", "track")), given(POLICY_OPTIONS)


if __name__ == "__main__":
    import sys

    from physgen_control.program.command_line import run_command

    sys.exit(run_command("physgen train", main, sys.argv[1:]))
