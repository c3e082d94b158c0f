# SPDX-License-Identifier: Apache-2.0
"""`physgen imagine`: a film of what a checkpoint expects to happen, from one picture, and the actions with it."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_control.errors import UserError
from physgen_control.program.command_line import run_command
from physgen_control.program.command_parser import CommandParser, file_to_write

if TYPE_CHECKING:
    from physgen_control.types import Float32Array, UInt8Image
    from physgen_policy.runtime.imagination import Imagination


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a film begins; a text that is not known is empty."""

    fixed: UInt8Image
    """Image of the fixed camera, uint8 [y, x, 3]."""
    wrist: UInt8Image
    """Image of the wrist camera, uint8 [y, x, 3]."""
    task: str = ""
    instruction: str = ""
    actions: Float32Array | None = None
    """What was really done, [T, a]."""
    later: tuple[tuple[UInt8Image, UInt8Image], ...] = ()
    """Images of both cameras after every chunk of it."""


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen imagine",
        description="Roll a checkpoint forward from one picture: its own frames take the place of the cameras'. The "
        "actions are the policy's, or, beside a bag, the recorded ones; then the film shows both, with the distance of "
        "tracked objects.",
        examples=("physgen imagine --task PushCube-v1 --seed 3 --out runs/imagined.mp4",),
    )
    parser.add_argument(
        "--checkpoint", default="", help="name or folder; default: the one shipped for the task"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", nargs=2, metavar=("FIXED", "WRIST"), help="one picture of each camera")
    source.add_argument(
        "--bag", metavar="BAG", help="a recorded episode: its first picture, beside what followed"
    )
    source.add_argument("--task", default="", help="a scene of the simulator, such as PushCube-v1")
    parser.add_argument("--sim", default="maniskill", help="simulator of --task (default maniskill)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scene of --task (default 0)")
    parser.add_argument("--instruction", default="", help="default: that of the bag or the task")
    parser.add_argument("--frames", type=int, default=3, metavar="K", help="chunks ahead (default 3)")
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="films with random numbers of their own"
    )
    parser.add_argument(
        "--first-sample", type=int, default=0, metavar="SEED", help="seed of the first sample (default 0)"
    )
    parser.add_argument(
        "--sampler",
        default="auto",
        choices=("auto", "mean", "sample"),
        help="auto: the mean where the checkpoint has one",
    )
    parser.add_argument(
        "--temperature", type=float, default=0.5, help="noise of sampled frames (default 0.5)"
    )
    parser.add_argument(
        "--own-actions", action="store_true", help="beside a bag: the policy's actions, not the recorded ones"
    )
    parser.add_argument(
        "--attention", action="store_true", help="a row more: where the action tokens look in each frame"
    )
    parser.add_argument(
        "--out",
        type=file_to_write(".mp4"),
        default=Path("imagined.mp4"),
        help="film; actions go beside it (.json)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Imagine, write the film and the numbers; return the exit status.

    Raises:
        UserError: An argument cannot be used.
    """
    options = build_parser().parse_args(arguments)
    for name in ("frames", "samples"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.own_actions and not options.bag:
        raise UserError("--own-actions chooses between recorded and own actions; give --bag")

    from physgen_bringup.pictures.imagined import FilmRow, write_imagined
    from physgen_bringup.pictures.overlays import attention_overlay, error_map
    from physgen_control.program.progress import Progress
    from physgen_policy.bench.tracking import TRACKED, track_error
    from physgen_policy.runtime.loading import load_imagination

    progress = Progress()
    progress.say(f"Imagining {options.samples} film(s) of {options.frames} chunks into {options.out}")
    with progress.stage("loading the first images and the checkpoint"):
        begins = _beginning(options)
        imagination = load_imagination(
            options.checkpoint, begins.task, frames=options.sampler, temperature=options.temperature
        )
    checkpoint, sampler = imagination.checkpoint, imagination.frames
    instruction = options.instruction or begins.instruction
    if not instruction:
        raise UserError("say what is to be done with --instruction")
    horizon = checkpoint.model.config.action.horizon
    truth = [imagination.spliced(*pair) for pair in begins.later]
    given = None if begins.actions is None or options.own_actions else begins.actions
    frames = options.frames
    if given is not None and frames > (whole := min(len(given) // horizon, len(truth))):
        if whole == 0:
            raise UserError(f"{options.bag} is shorter than a chunk of {horizon} actions")
        print(f"the recording has {whole} whole chunks; {whole} frames are imagined, not {frames}")
        frames = whole
    first = imagination.spliced(begins.fixed, begins.wrist)
    things = TRACKED.get(begins.task, ())
    rows, report = [], []
    looks: list[Float32Array] = []
    seeds = range(options.first_sample, options.first_sample + options.samples)
    for seed in progress.track(seeds, "films"):
        film, chunks, looks = _film(imagination, first, instruction, seed, frames, given, horizon)
        errors = [
            {thing.name: _plain(track_error(thing, image, true)) for thing in things}
            for image, true in zip(film[1:], truth, strict=False)
        ]
        notes = ["", *("  ".join(f"{k} {v:.1f} px" for k, v in e.items() if v is not None) for e in errors)]
        rows.append(FilmRow(f"imagined, sample {seed}", film, notes))
        report.append(
            {"seed": seed, "actions": [chunk.tolist() for chunk in chunks], "track_error_px": errors}
        )
    last = rows[-1]
    if truth:
        true = [first, *truth[:frames]]
        rows.insert(0, FilmRow("recorded", true))
        wrong = [error_map(*pair) for pair in zip(last.frames, true, strict=False)]
        rows.append(FilmRow(f"what differs, sample {seeds[-1]}", wrong))
    if options.attention:
        watched = [attention_overlay(*pair) for pair in zip(last.frames, looks, strict=False)]
        rows.append(FilmRow(f"where the actions look, sample {seeds[-1]}", watched))
    who = "recorded actions" if given is not None else "own actions"
    title = f"{checkpoint.name}: {instruction} ({who}, {sampler.label})"
    seconds = horizon / checkpoint.embodiment.control_rate_hz
    write_imagined(rows, options.out, title=title, frame_s=seconds)
    numbers = options.out.with_suffix(".json")
    values = {
        "checkpoint": checkpoint.policy_id,
        "instruction": instruction,
        "task": begins.task,
        "sampler": sampler.label,
        "actions": who,
        "samples": report,
    }
    numbers.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    progress.result(f"film: {options.out}, actions: {numbers}")
    return 0


def _film(
    imagination: Imagination,
    first: UInt8Image,
    instruction: str,
    seed: int,
    frames: int,
    given: Float32Array | None,
    horizon: int,
) -> tuple[list[UInt8Image], list[Float32Array], list[Float32Array]]:
    """Return all frames from the given one on, and of every one but the last its chunk and where that looked."""
    imagination.begin(first, instruction, seed)
    film, chunks, looks = [first], [], []
    for n in range(frames):
        step = imagination.step(None if given is None else given[n * horizon : (n + 1) * horizon])
        film.append(step.image)
        chunks.append(step.actions)
        looks.append(imagination.attention())
    return film, chunks, looks


def _plain(error: float | None) -> float | None:
    """JSON has no infinity: a thing that the imagined frame does not show has no distance."""
    return error if error is not None and math.isfinite(error) else None


def _beginning(options: argparse.Namespace) -> Beginning:
    if options.image:
        fixed, wrist = (_read_image(Path(name)) for name in options.image)
        return Beginning(fixed, wrist)
    if options.bag:
        return _from_bag(Path(options.bag))
    return _from_world(options.sim, options.task, options.seed)


def _read_image(path: Path) -> UInt8Image:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a picture: {error}") from error


def _from_bag(path: Path) -> Beginning:
    import numpy as np

    from physgen_bringup.pictures.recordings import to_recording
    from physgen_control.bags.find import find_bags
    from physgen_control.bags.reader import read_episode
    from physgen_control.types import HORIZON

    found = list(find_bags(path))
    if len(found) != 1:
        raise UserError(f"--bag wants one recorded episode; {path} holds {len(found)}")
    episode = read_episode(found[0])
    recording = to_recording(episode)
    pairs = list(zip(recording.fixed, recording.wrist, strict=False))
    if not pairs:
        raise UserError(f"{path} holds no pictures of both cameras")
    step = HORIZON // recording.picture_every
    actions = [action.applied for action in recording.actions]
    return Beginning(
        *pairs[0],
        task=recording.task,
        instruction=episode.instruction,
        actions=np.stack(actions).astype(np.float32) if actions else None,
        later=tuple(pairs[step::step]),
    )


def _from_world(sim: str, task: str, seed: int) -> Beginning:
    from physgen_sim_bridge.registry import make_world

    world = make_world(sim, task)
    try:
        observation = world.reset(seed)
        return Beginning(
            observation.rgb_fixed, observation.rgb_wrist, task=task, instruction=world.spec.instruction
        )
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(run_command("imagine", main, sys.argv[1:]))
