# SPDX-License-Identifier: Apache-2.0
"""`physgen collect --task T --episodes N`: demonstrations of the scripted expert as MCAP bags, one per episode."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_control.program.command_parser import CommandParser, add_out, add_workers

if TYPE_CHECKING:
    from physgen_bringup.collection.run import CollectedEpisode
    from physgen_bringup.collection.workers import CollectorOptions
    from physgen_control.program.progress import Progress

EPISODE_TIMEOUT_S = 900.0
MAX_CONSECUTIVE_CRASHES = 5
FIRST_SEED = 10_000
"""Demonstrations start here by default, so that evaluations from seed 0 never see a demonstrated episode."""


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen collect",
        description="Record demonstrations of the scripted expert. Now and then the hand is pushed off its way, so "
        "that the data contains recoveries; pushed steps are flagged and never become labels. Seeds that already have "
        "a bag are skipped, so an interrupted collection continues.",
        examples=("physgen collect --task PushCube-v1 --episodes 500 --out bags/pushcube",),
        old_names={"--suite": "--sim"},
    )
    parser.add_argument(
        "--sim",
        dest="suite",
        metavar="NAME",
        default="maniskill",
        help="maniskill (default), fake, libero, a suite of LIBERO such as libero_object, or your own: module:Class",
    )
    parser.add_argument(
        "--task", required=True, help="environment id, such as PushCube-v1 or libero_object/3"
    )
    parser.add_argument("--libero-assets", default="", help="folder of LIBERO's assets")
    parser.add_argument("--episodes", type=int, default=100, help="episodes to record (default 100)")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help=f"first seed (default {FIRST_SEED})")
    add_out(parser, "folder for the bags (default: bags/TASK)", type=Path)
    add_workers(parser, "processes (default: one per core)", default=0)
    parser.add_argument("--tail-steps", type=int, default=8, help="steps recorded after success (default 8)")
    parser.add_argument(
        "--disturbance",
        type=float,
        default=0.03,
        help="chance per step that a push begins (default 0.03; 0: none)",
    )
    parser.add_argument(
        "--push-size", type=float, default=0.04, help="largest push per step [m] (default 0.04)"
    )
    parser.add_argument("--push-steps", type=int, default=6, help="longest push [steps] (default 6)")
    parser.add_argument(
        "--start-steps", type=int, default=4, help="longest push at the start of an episode (default 4)"
    )
    parser.add_argument(
        "--leader",
        type=Path,
        metavar="CHECKPOINT",
        help="let this policy lead each episode's first chunks before the expert takes over, so that the data shows "
        "how to recover from the policy's own mistakes; its steps are never labels",
    )
    parser.add_argument(
        "--led-chunks",
        type=int,
        default=4,
        help="most chunks the leader executes (default 4; each episode draws)",
    )
    parser.add_argument(
        "--picture-every",
        type=int,
        default=1,
        metavar="N",
        help="draw the cameras at every N-th control step only: 1, 2, 4 or 8 (default 1). A policy looks once per "
        "chunk of 8, and drawing is most of the work; the LeRobot format needs every picture",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Record in worker processes; return the exit status, 1 if any episode crashed.

    Raises:
        UserError: An argument cannot be used.
    """
    options = build_parser().parse_args(arguments)
    from physgen_control.program.progress import Progress

    progress = Progress()
    from physgen_bringup.collection.run import CollectionConfig, flat_name
    from physgen_control.errors import UserError
    from physgen_control.program.folder_lock import folder_lock
    from physgen_sim_bridge.experts.by_task import make_expert
    from physgen_sim_bridge.registry import check_task, resolve_suite

    if options.episodes < 1 or options.seed < 0 or options.workers < 0:
        raise UserError("--episodes must be at least 1, --seed and --workers at least 0")
    if options.libero_assets:
        os.environ["PHYSGEN_LIBERO_ASSETS"] = str(Path(options.libero_assets).expanduser().resolve())
    if options.led_chunks < 1:
        raise UserError("--led-chunks must be at least 1")
    CollectionConfig(picture_every=options.picture_every)  # a sentence here, not a crash per seed
    options.suite, options.task = resolve_suite(options.suite, options.task)
    check_task(options.suite, options.task)
    make_expert(
        options.suite, options.task
    )  # a task without an expert is a sentence here, not a crash per seed
    folder: Path = options.out or Path("bags") / flat_name(options.task)
    with folder_lock(folder):
        return _collect(options, folder, progress)


def _collect(options: argparse.Namespace, folder: Path, progress: Progress) -> int:
    from physgen_bringup.collection.run import bag_name, flat_name
    from physgen_control.errors import UserError

    wanted = range(options.seed, options.seed + options.episodes)
    seeds = [seed for seed in wanted if not (folder / bag_name(options.task, seed)).exists()]
    for kept in set_aside(folder, [bag_name(options.task, seed) for seed in seeds]):
        progress.say(f"kept {kept}, which an interrupted collection left; its seed is recorded anew")
    workers = min(options.workers or os.cpu_count() or 1, max(1, len(seeds)))
    progress.say(
        f"{len(seeds)} of {len(wanted)} episodes of {options.task} to record with {workers} workers, into {folder}"
    )
    successes = crashes = in_a_row = 0
    with progress.stage(options.task, len(wanted), len(wanted) - len(seeds)) as stage:
        for result in _record(options, folder, seeds, workers):
            if isinstance(result, str):
                crashes, in_a_row = crashes + 1, in_a_row + 1
                progress.say(result)
                if in_a_row == MAX_CONSECUTIVE_CRASHES:
                    raise UserError(f"{in_a_row} episodes crashed in a row; the last one: {result}")
            else:
                successes, in_a_row = successes + result.success, 0
            stage.update(advance=1, info=f"{successes} succeeded, {crashes} crashed")
    recorded = len(seeds) - crashes
    print(f"{folder}: {recorded} episodes recorded, {successes} succeeded, {crashes} crashed", flush=True)
    progress.next("./physgen", "convert", folder, "--out", f"datasets/{flat_name(options.task)}")
    return 1 if crashes else 0


def set_aside(folder: Path, names: Sequence[str]) -> list[Path]:
    """Rename unfinished bags `NAME.partial` to `NAME.interrupted-N.partial`, so that NAME can be recorded anew.

    They stay readable with `physgen repair`, and the suffix keeps readers from taking them for finished bags.
    """
    kept = []
    for name in names:
        partial = folder / f"{name}.partial"
        if partial.is_dir():
            number = sum(1 for _ in folder.glob(f"{name}.interrupted-*.partial"))
            kept.append(partial.rename(folder / f"{name}.interrupted-{number}.partial"))
    return kept


def _record(
    options: argparse.Namespace, folder: Path, seeds: list[int], workers: int
) -> Iterator[CollectedEpisode | str]:
    """Yield the result of every seed as it comes; a sentence for one whose simulator crashed."""
    from physgen_bringup.collection.workers import CollectionJob, record_episodes
    from physgen_bringup.processes.process_pool import Lost, ProcessPool

    jobs = deque(CollectionJob(_collector_options(options), seed, folder) for seed in seeds)
    with ProcessPool[CollectionJob](workers, record_episodes, job_timeout_s=EPISODE_TIMEOUT_S) as pool:
        for job, answer in pool.run(jobs):
            lost = isinstance(answer, Lost)
            yield f"seed {job.seed} crashed: {answer.sentence}" if lost else answer


def _collector_options(options: argparse.Namespace) -> CollectorOptions:
    from physgen_bringup.collection.workers import CollectorOptions
    from physgen_sim_bridge.disturbance import DisturbanceConfig

    return CollectorOptions(
        suite=options.suite,
        task=options.task,
        tail_steps=options.tail_steps,
        disturbance=DisturbanceConfig(
            probability=options.disturbance,
            longest=options.push_steps,
            size=options.push_size,
            start_steps=options.start_steps,
        ),
        leader=options.leader,
        led_chunks=options.led_chunks,
        picture_every=options.picture_every,
    )


if __name__ == "__main__":
    sys.exit(main())
