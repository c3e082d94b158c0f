# SPDX-License-Identifier: Apache-2.0
"""`physgen bench policy`: latency of every stage, eager and optimised side by side, and the machine's own limits."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, file_to_write

OUTPUT = Path("runs") / "bench"


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench policy",
        description="Latency of every stage from an observation to its chunk, eager and optimised side by side, and "
        "the machine's own limits. The last line says what it means.",
        examples=(
            "physgen bench policy --checkpoint pushcube-tiny",
            "physgen bench policy --preset physgen-732m",
        ),
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--preset", default="", help="a model preset with random weights (default: tiny)")
    subject.add_argument("--checkpoint", default="", help="a checkpoint's name or folder instead")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: bfloat16 on CUDA and for physgen-732m, float32 otherwise",
    )
    parser.add_argument(
        "--iterations",
        type=int,
        default=10,
        help="episodes per variant; each is 6 chunks at the shipped sizes",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's default")
    parser.add_argument("--sampler", default="ddim", choices=("ddim", "ddpm", "dpm"))
    parser.add_argument("--denoise-steps", type=int, default=10)
    parser.add_argument("--action-samples", type=int, default=8, help="chunks denoised for one that is sent")
    parser.add_argument(
        "--naive", action="store_true", help="a third variant: everything off, 100 DDPM steps"
    )
    parser.add_argument(
        "--encoder-repeats", type=int, default=3, help="repeats of the video encoder rows; 0 leaves them out"
    )
    parser.add_argument(
        "--frame-budget",
        type=float,
        default=20.0,
        help="seconds; a slower imagined frame is estimated from a few steps; 0 leaves frames out",
    )
    parser.add_argument(
        "--dataset",
        default="",
        metavar="FOLDER",
        help="with --checkpoint: also compare samplers on its frames",
    )
    parser.add_argument(
        "--json",
        type=file_to_write(),
        metavar="FILE",
        help=f"the numbers (default: {OUTPUT}/policy-SUBJECT.json)",
    )
    parser.add_argument("--plot", default="", metavar="FILE", help="default: beside the JSON file")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit status.

    Raises:
        UserError: An argument cannot be used.
    """
    options = build_parser().parse_args(arguments)
    import torch
    from rich.console import Console

    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress
    from physgen_policy.bench import quality, report, subjects
    from physgen_policy.bench.policy import BenchSpec, run
    from physgen_policy.bench.random_checkpoint import random_checkpoint
    from physgen_policy.data.dataset import Dataset
    from physgen_policy.runtime.loading import choose_device

    for name in ("iterations", "denoise_steps", "action_samples"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    for name in ("threads", "encoder_repeats", "frame_budget"):
        if getattr(options, name) < 0:
            raise UserError(f"--{name.replace('_', '-')} must not be negative, got {getattr(options, name)}")
    if options.dataset and not options.checkpoint:
        raise UserError("--dataset compares samplers of a trained policy; give its --checkpoint too")
    device = torch.device(choose_device(options.device))
    preset = options.preset or ("" if options.checkpoint else "tiny")
    dtype = options.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device.type == "cuda" or preset == "physgen-732m" else "float32"
    console = Console(width=None if sys.stdout.isatty() else 160)
    progress = Progress()
    name = preset or options.checkpoint
    progress.say(f"Measuring {name} on {device} in {dtype}; this takes a minute or more")
    with progress.stage(f"bench policy {name}") as stage:
        stage.update(info="building the networks")
        checkpoint = (
            random_checkpoint(preset, device)
            if preset
            else subjects.from_checkpoint(options.checkpoint, device)
        )
        spec = BenchSpec(
            dtype=dtype,
            iterations=options.iterations,
            sampler=options.sampler,
            denoise_steps=options.denoise_steps,
            action_samples=options.action_samples,
            threads=options.threads,
            naive=options.naive,
            encoder_repeats=options.encoder_repeats,
            frame_budget=options.frame_budget,
        )
        result = run(checkpoint, spec, lambda what: stage.update(info=what))
        result["samplers"] = []
        if options.dataset:
            stage.update(info="comparing samplers")
            compared = quality.measure(checkpoint, Dataset(Path(options.dataset)))
            result["samplers"] = [asdict(row) for row in compared]
    report.print_tables(result, console)
    if result["samplers"]:
        report.print_quality(result["samplers"], console)
    path = options.json or OUTPUT / f"policy-{preset or checkpoint.name}.json"
    picture = Path(options.plot) if options.plot else path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report.draw(result, picture)
    print(f"numbers: {path}, picture: {picture}")
    chunk_s = checkpoint.model.config.action.horizon / checkpoint.embodiment.control_rate_hz
    print(report.verdict(result, chunk_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
