# SPDX-License-Identifier: Apache-2.0
"""`physgen bench video`: how good a checkpoint's predicted frames are, on recordings it was not trained on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, file_to_write

OUTPUT = Path("runs") / "bench"


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench video",
        description="Predict the next frames of held-out episodes, and whole roll-outs from their first picture alone; "
        "compare them with the true frames, with what the codec makes of these, and with a world in which nothing "
        "moves. PSNR of the whole picture and of what moves, SSIM, distance of tracked objects, seconds per frame.",
        examples=("physgen bench video --checkpoint pushcube-tiny --dataset datasets/pushcube",),
    )
    parser.add_argument("--checkpoint", required=True, help="a checkpoint's name or folder")
    parser.add_argument(
        "--dataset", required=True, metavar="FOLDER", help="recordings made by `physgen convert`"
    )
    parser.add_argument(
        "--episodes", type=int, default=0, help="at most so many episodes (default: all held-out)"
    )
    parser.add_argument("--rollout", type=int, default=3, metavar="K", help="frames ahead from one picture")
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of the episodes that training held out (its validation_share)",
    )
    parser.add_argument(
        "--all-episodes", action="store_true", help="all of them: nobody was trained on this dataset"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; 0: torch's default")
    parser.add_argument(
        "--json",
        type=file_to_write(),
        metavar="FILE",
        help=f"the numbers (default: {OUTPUT}/video-CHECKPOINT.json)",
    )
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
    from physgen_policy.bench import subjects, video, video_report
    from physgen_policy.data.dataset import Dataset

    for name, least in (("episodes", 0), ("rollout", 1), ("threads", 0)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} must be at least {least}, got {getattr(options, name)}")
    if not 0.0 < options.held_out <= 0.9:
        raise UserError(f"--held-out must be above 0 and at most 0.9, got {options.held_out}")
    if options.threads:
        torch.set_num_threads(options.threads)
    checkpoint = subjects.from_checkpoint(options.checkpoint, torch.device("cpu"))
    config = checkpoint.model.config
    films = video.filmed_episodes(
        Dataset(Path(options.dataset)),
        config.action.horizon,
        count=options.episodes,
        share=options.held_out,
        every_episode=options.all_episodes,
    )
    console = Console(width=None if sys.stdout.isatty() else 160)
    progress = Progress()
    progress.say(f"Predicting frames of {len(films)} episodes of {options.dataset} with {options.checkpoint}")
    with progress.stage("predicting frames") as stage:
        result, examples = video.measure(
            checkpoint,
            films,
            rollout=options.rollout,
            samplers=video.settings(config),
            say=lambda what: stage.update(info=what),
        )
    result["dataset"] = options.dataset
    video_report.print_tables(result, console)
    path = options.json or OUTPUT / f"video-{checkpoint.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    picture, plot = path.with_name(path.stem + ".png"), path.with_name(path.stem + "-horizon.png")
    video_report.draw_examples(examples, picture)
    video_report.draw_horizon(result, plot)
    console.print(f"numbers: {path}, pictures: {picture}, {plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
