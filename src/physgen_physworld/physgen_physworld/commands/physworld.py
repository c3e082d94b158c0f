# SPDX-License-Identifier: Apache-2.0
"""`physgen physworld`: from a video in which objects move to a robot that moves them likewise."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser
from physgen_control.program.progress import Progress
from physgen_physworld.commands import (
    physworld_amortise,
    physworld_clips,
    physworld_kit,
    physworld_ladder,
)
from physgen_physworld.video.source import VideoSource

STEPS = ("video", "reconstruct", "train", "run")
OTHERS = {
    "ladder": physworld_ladder.main,
    "clips": physworld_clips.main,
    "kit": physworld_kit.main,
    "amortise": physworld_amortise.main,
}
TELL_EVERY_S = 5.0

DESCRIPTIONS = {
    "": "From one picture and a sentence to a robot that does it: a video shows how the object shall move, its motion "
    "is reconstructed in metres, a physical twin of the scene judges and improves the actions, and the robot acts. A "
    "step that is done is not repeated. The steps alone: physworld video, reconstruct, train, run. Comparisons: "
    "physworld ladder; for a video model: physworld clips; for launch and eval: physworld kit; one residual "
    "for a task: physworld amortise.",
    "video": "Get the video: from a video model, a film with its camera, a recorded bag, or the expert's episode in "
    "the simulator.",
    "reconstruct": "Find the things that the instruction names, follow them through the video, and build the scene.",
    "train": "Learn the residual in the physical twin of the scene.",
    "run": "Do what the video shows, in the scene that it begins in.",
}
EXAMPLES = {
    "": (
        "physgen physworld --task StackCube-v1 --seed 7 --out runs/pw",
        "physgen physworld --task StackCube-v1 --seed 7 --generator CHECKPOINT --out runs/pw",
    ),
    "video": ("physgen physworld video runs/pw --video clip.mp4 --camera camera.yaml",),
    "reconstruct": ('physgen physworld reconstruct runs/pw --instruction "push the cube to the goal"',),
    "train": ("physgen physworld train runs/pw --steps 100000",),
    "run": ("physgen physworld run runs/pw --how base",),
}


def build_parser(step: str = "") -> CommandParser:
    """Return the parser of one step; "" is all of them in a row."""
    parser = CommandParser(
        prog=f"physgen physworld {step}".strip(), description=DESCRIPTIONS[step], examples=EXAMPLES[step]
    )
    if step:
        parser.add_argument("folder", type=Path, metavar="DIR", help="the run's folder")
    else:
        parser.add_argument(
            "--out", dest="folder", type=Path, required=True, metavar="DIR", help="the run's folder"
        )
    if step in ("", "video"):
        parser.add_argument("--task", default="", help="a ManiSkill task: the expert's episode is the video")
        parser.add_argument("--seed", type=int, default=0, help="of the scene")
        parser.add_argument("--arm", action="store_true", help="leave the arm in the expert's video")
        parser.add_argument(
            "--generator",
            type=Path,
            metavar="DIR",
            help="a checkpoint of a video model that makes the video instead",
        )
        parser.add_argument(
            "--image",
            type=Path,
            metavar="FILE",
            help="the picture that its video begins with (default: the task's)",
        )
        parser.add_argument("--video", type=Path, metavar="FILE", help="an mp4 or GIF of any program instead")
        parser.add_argument("--bag", type=Path, metavar="BAG", help="a recorded bag instead")
        parser.add_argument(
            "--camera", type=Path, metavar="FILE", help="camera.yaml of the picture, film or bag"
        )
    if step in ("", "video", "reconstruct"):
        parser.add_argument("--instruction", default="", help="what to do (default: the task's)")
    if step in ("", "reconstruct"):
        parser.add_argument(
            "--from", dest="tracks", type=Path, metavar="FILE", help="take these tracks.npz instead"
        )
        parser.add_argument(
            "--depth",
            type=Path,
            metavar="FILE",
            help="a sensor's depth picture of the first picture (PNG, mm)",
        )
        parser.add_argument(
            "--depth-model",
            type=Path,
            metavar="DIR",
            help="a monocular depth network in transformers' format instead",
        )
    if step in ("", "video", "reconstruct", "run"):
        parser.add_argument(
            "--object",
            action="append",
            default=[],
            metavar="NAME=COLUMN,ROW",
            help="where a thing is in the first picture, if its words do not say it",
        )
    if step in ("", "train"):
        parser.add_argument("--steps", type=int, default=100_000, help="of all twins together")
        parser.add_argument("--twins", type=int, default=32, help="worlds side by side")
        parser.add_argument("--rl-seed", type=int, default=0, help="of the training")
    if step in ("", "run"):
        parser.add_argument(
            "--how",
            choices=("residual", "base", "naive"),
            default="residual",
            help="base and residual, the base alone, or naive retargeting",
        )
    return parser


def main(arguments: list[str]) -> int:
    """Run one step, or all."""
    if arguments[:1] and arguments[0] in OTHERS:
        return OTHERS[arguments[0]](arguments[1:])
    step = arguments[0] if arguments[:1] and arguments[0] in STEPS else ""
    options = build_parser(step).parse_args(arguments[1:] if step else arguments)
    progress = Progress()
    works = {"video": _video, "reconstruct": _reconstruct, "train": _train}
    if not step:
        progress.say(f"Results go to {options.folder}")
    for name, work in works.items():
        wanted = step == name or (not step and (name != "train" or options.how == "residual"))
        if wanted:
            started = time.monotonic()
            with progress.stage(name):
                fresh = work(options, progress)
            took = f"done in {time.monotonic() - started:.1f} s" if fresh else "is done already"
            progress.say(f"{name}: {took}")
    if step in ("", "run"):
        with progress.stage("run"):
            text = _run(options)
        progress.result(text)
    else:
        following = STEPS[STEPS.index(step) + 1]
        progress.next("./physgen", "physworld", following, options.folder)
    return 0


def _video(options: argparse.Namespace, _progress: Progress) -> bool:
    from physgen_physworld.pipeline.step_folder import sha256
    from physgen_physworld.pipeline.video_step import make_video
    from physgen_physworld.video.bag import BagSource
    from physgen_physworld.video.clip import ClipSource
    from physgen_physworld.video.oracle import OracleSource
    from physgen_sim_bridge.maniskill.tasks import TASKS

    chosen = [name for name in ("generator", "video", "bag") if getattr(options, name) is not None]
    if len(chosen) > 1:
        raise UserError(f"A run has one video: give --{chosen[0]} or --{chosen[1]}, not both.")
    if options.task and options.task not in TASKS:
        raise UserError(
            f"There is no ManiSkill task {options.task!r} here; choose one of {', '.join(TASKS)}."
        )
    settings: dict[str, Any] = {"task": options.task, "seed": options.seed}
    inputs: dict[str, str] = {}
    source: VideoSource
    if chosen == ["generator"]:
        source = _generated(options, settings, inputs)
    elif chosen:
        if options.camera is None:
            raise UserError("A film is of no use without its camera: add --camera camera.yaml.")
        path: Path = getattr(options, chosen[0])
        settings |= {"source": chosen[0], "file": path.name}
        if path.is_file():
            inputs[chosen[0]] = sha256(path)
        if options.camera.is_file():
            inputs["camera"] = sha256(options.camera)
        if chosen[0] == "bag":
            source = BagSource(path=path, camera_path=options.camera)
        else:
            source = ClipSource(path=path, camera_path=options.camera)
    elif options.task:
        settings |= {"source": "oracle", "arm": options.arm}
        source = OracleSource(task=options.task, seed=options.seed, arm=options.arm)
    else:
        raise UserError(
            "Say where the video is from: --task TASK --seed N, --generator CHECKPOINT, --video FILE or --bag BAG."
        )
    return make_video(options.folder, source, inputs, settings)


def _generated(options: argparse.Namespace, settings: dict[str, Any], inputs: dict[str, str]) -> VideoSource:
    """Return the video model's source, and note in settings and inputs what it is made from.

    Raises:
        UserError: the picture, its camera or the instruction is missing or cannot be read.
    """
    from physgen_physworld.pipeline.step_folder import sha256
    from physgen_physworld.video.camera_file import read_camera
    from physgen_physworld.video.first_picture import maniskill_picture, read_picture
    from physgen_physworld.video.generated import GeneratedSource, find_generator
    from physgen_sim_bridge.maniskill.tasks import TASKS

    if (options.image is None) == (not options.task):
        raise UserError(
            "A generated video begins with one picture: give --task TASK --seed N, or --image FILE."
        )
    if options.image is not None and (options.camera is None or not options.instruction):
        raise UserError(
            "A picture needs its camera and what shall happen: add --camera camera.yaml --instruction TEXT."
        )
    instruction = options.instruction or TASKS[options.task].instruction
    clicks = _clicks(options.object)
    settings |= {
        "source": "generator",
        "instruction": instruction,
        "clicks": {k: list(v) for k, v in clicks.items()},
    }
    inputs["generator"] = sha256(find_generator(options.generator) / "model.safetensors")
    if options.image is None:
        picture, camera = maniskill_picture(options.task, options.seed)
    else:
        picture, camera = read_picture(options.image), read_camera(options.camera)
        inputs |= {"image": sha256(options.image), "camera": sha256(options.camera)}
    return GeneratedSource(
        checkpoint=options.generator, picture=picture, camera=camera, instruction=instruction, clicks=clicks
    )


def _reconstruct(options: argparse.Namespace, _progress: Progress) -> bool:
    from physgen_physworld.pipeline.reconstruct_step import reconstruct

    instruction = options.instruction or _instruction(options.folder)
    return reconstruct(
        options.folder,
        instruction,
        _clicks(options.object),
        options.tracks,
        measured=options.depth,
        network=options.depth_model,
    )


def _train(options: argparse.Namespace, progress: Progress) -> bool:
    from physgen_physworld.pipeline.train_step import train
    from physgen_physworld.residual.training import TrainingConfig

    told = time.monotonic()

    def report(steps: int, reward: float) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            progress.say(f"  {steps} of {options.steps} steps, mean reward {reward:.2f}")

    return train(
        options.folder, TrainingConfig(steps=options.steps, twins=options.twins, seed=options.rl_seed), report
    )


def _run(options: argparse.Namespace) -> str:
    from physgen_physworld.execution.reality import ManiSkillReality
    from physgen_physworld.pipeline.run_step import act
    from physgen_sim_bridge.maniskill.tasks import TASKS
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    settings = _video_settings(options.folder)
    task, seed = str(settings.get("task", "")), int(settings.get("seed", 0))
    if task not in TASKS:
        raise UserError(
            f"{options.folder} does not say in which scene to act: make its video with --task and --seed of that scene."
        )
    result = act(
        options.folder,
        options.how,
        lambda: ManiSkillReality(task, ManiSkillWorld(task, image_size=256)),
        seed,
        _clicks(options.object),
    )
    outcome = "success" if result["success"] else "no success"
    return (
        f"run ({options.how}): {outcome} after {result['steps']} steps, "
        f"goal {result['goals_reached']} of {result['goals']}, {result['failed_grasps']} failed grasps"
    )


def _video_settings(folder: Path) -> dict[str, Any]:
    from physgen_physworld.pipeline.video_step import video_step

    record = video_step(folder).record()
    if record is None:
        raise UserError(f"{folder} has no video yet: begin with `physgen physworld video {folder}`.")
    return dict(record["settings"])


def _instruction(folder: Path) -> str:
    from physgen_sim_bridge.maniskill.tasks import TASKS

    settings = _video_settings(folder)
    if settings.get("instruction"):
        return str(settings["instruction"])
    task = str(settings.get("task", ""))
    if task not in TASKS:
        raise UserError('Say what the video shows: --instruction "stack the red cube on the green cube".')
    return TASKS[task].instruction


def _clicks(words: list[str]) -> dict[str, tuple[float, float]]:
    clicks = {}
    for word in words:
        name, _, at = word.partition("=")
        column, _, row = at.partition(",")
        try:
            clicks[name] = (float(column), float(row))
        except ValueError as error:
            raise UserError(
                f"--object is NAME=COLUMN,ROW in pixels, such as cube=130,152, not {word!r}."
            ) from error
    return clicks
