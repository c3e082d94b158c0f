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

STEPS = ("video", "reconstruct", "train", "run", "ladder")
TELL_EVERY_S = 5.0

DESCRIPTIONS = {
    "": "From one picture and a sentence to a robot that does it: a video shows how the object shall move, its motion "
    "is reconstructed in metres, a physical twin of the scene judges and improves the actions, and the robot acts. A "
    "step that is done is not repeated. The steps alone: physworld video, reconstruct, train, run. Comparisons: "
    "physworld ladder.",
    "video": "Get the video: a film with its camera, a recorded bag, or the expert's episode in the simulator.",
    "reconstruct": "Find the things that the instruction names, follow them through the video, and build the scene.",
    "train": "Learn the residual in the physical twin of the scene.",
    "run": "Do what the video shows, in the scene that it begins in.",
    "ladder": "Compare ways to act on ever less perfect tracks, on the same seeds.",
}
EXAMPLES = {
    "": ("physgen physworld --task StackCube-v1 --seed 7 --out runs/pw",),
    "video": ("physgen physworld video runs/pw --video clip.mp4 --camera camera.yaml",),
    "reconstruct": ('physgen physworld reconstruct runs/pw --instruction "push the cube to the goal"',),
    "train": ("physgen physworld train runs/pw --steps 100000",),
    "run": ("physgen physworld run runs/pw --how base",),
    "ladder": ("physgen physworld ladder --seeds 1000:50 --out ladder.json",),
}


def build_parser(step: str = "") -> CommandParser:
    """Return the parser of one step; "" is all of them in a row."""
    parser = CommandParser(
        prog=f"physgen physworld {step}".strip(), description=DESCRIPTIONS[step], examples=EXAMPLES[step]
    )
    if step == "ladder":
        parser.add_argument("--tasks", default="PushCube-v1,PickCube-v1,StackCube-v1", help="comma separated")
        parser.add_argument("--seeds", default="1000:10", metavar="FIRST:COUNT", help="which")
        parser.add_argument("--rungs", default="truth,oracle,oracle-arm", help="comma separated")
        parser.add_argument(
            "--residual", type=Path, metavar="FILE", help="a trained residual as a third way to act"
        )
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON to write")
        return parser
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
        parser.add_argument("--video", type=Path, metavar="FILE", help="an mp4 or GIF of any program instead")
        parser.add_argument("--bag", type=Path, metavar="BAG", help="a recorded bag instead")
        parser.add_argument("--camera", type=Path, metavar="FILE", help="camera.yaml of the film or bag")
    if step in ("", "reconstruct"):
        parser.add_argument("--instruction", default="", help="what to do (default: the task's)")
        parser.add_argument(
            "--from", dest="tracks", type=Path, metavar="FILE", help="take these tracks.npz instead"
        )
    if step in ("", "reconstruct", "run"):
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
    step = arguments[0] if arguments[:1] and arguments[0] in STEPS else ""
    options = build_parser(step).parse_args(arguments[1:] if step else arguments)
    if step == "ladder":
        return _ladder(options)
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
    from physgen_physworld.video.source import VideoSource
    from physgen_sim_bridge.maniskill.tasks import TASKS

    chosen = [name for name in ("video", "bag") if getattr(options, name) is not None]
    if len(chosen) > 1:
        raise UserError("A run has one video: give --video or --bag, not both.")
    if options.task and options.task not in TASKS:
        raise UserError(
            f"There is no ManiSkill task {options.task!r} here; choose one of {', '.join(TASKS)}."
        )
    settings: dict[str, Any] = {"task": options.task, "seed": options.seed}
    inputs: dict[str, str] = {}
    source: VideoSource
    if chosen:
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
        raise UserError("Say where the video is from: --task TASK --seed N, --video FILE or --bag BAG.")
    return make_video(options.folder, source, inputs, settings)


def _reconstruct(options: argparse.Namespace, _progress: Progress) -> bool:
    from physgen_physworld.pipeline.reconstruct_step import reconstruct

    instruction = options.instruction or _instruction(options.folder)
    return reconstruct(options.folder, instruction, _clicks(options.object), options.tracks)


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


def _ladder(options: argparse.Namespace) -> int:
    from physgen_physworld.execution.ladder import (
        EXECUTIONS,
        RUNGS,
        ladder_text,
        run_rungs,
        summarize,
        write_ladder,
    )
    from physgen_physworld.execution.residual_policy import ResidualPolicy
    from physgen_physworld.residual.network import load_residual
    from physgen_sim_bridge.maniskill.tasks import TASKS
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    tasks, rungs = options.tasks.split(","), [rung for rung in RUNGS if rung in options.rungs.split(",")]
    if unknown := sorted(set(tasks) - set(TASKS)) + sorted(set(options.rungs.split(",")) - set(RUNGS)):
        raise UserError(f"There is no task or rung {unknown[0]!r}; there are {', '.join((*TASKS, *RUNGS))}.")
    first, _, count = options.seeds.partition(":")
    if not (first.isdigit() and count.isdigit() and int(count) > 0):
        raise UserError(f"--seeds is FIRST:COUNT, for example 1000:10, but it is {options.seeds!r}.")
    executions = dict(EXECUTIONS)
    if options.residual is not None:
        network = load_residual(options.residual)
        executions["residual"] = lambda goals: ResidualPolicy(goals, network)
    progress = Progress()
    progress.say(f"Results go to {options.out}")
    trials = []
    for task in tasks:
        world = ManiSkillWorld(task, image_size=256)
        for seed in range(int(first), int(first) + int(count)):
            fresh = run_rungs(world, task, seed, rungs, executions)
            trials += fresh
            won = ", ".join(
                f"{trial.rung}/{trial.execution} {'yes' if trial.success else 'no'}" for trial in fresh
            )
            progress.say(f"{task} seed {seed}: {won}")
            write_ladder(trials, options.out)  # after each seed: what is measured is not lost
        world.close()
    progress.result(ladder_text(summarize(trials)))
    return 0


def _video_settings(folder: Path) -> dict[str, Any]:
    from physgen_physworld.pipeline.video_step import video_step

    record = video_step(folder).record()
    if record is None:
        raise UserError(f"{folder} has no video yet: begin with `physgen physworld video {folder}`.")
    return dict(record["settings"])


def _instruction(folder: Path) -> str:
    from physgen_sim_bridge.maniskill.tasks import TASKS

    task = str(_video_settings(folder).get("task", ""))
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
