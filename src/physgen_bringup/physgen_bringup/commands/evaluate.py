# SPDX-License-Identifier: Apache-2.0
"""`physgen eval`: success of a policy over many seeds, in-process or through the whole graph."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgen_bringup.evaluation import EvaluationSpec
    from physgen_bringup.results import EpisodeResult, Evaluation

MAX_WORKERS = 64
SUITES = (
    "maniskill",
    "libero",
    "libero_spatial",
    "libero_object",
    "libero_goal",
    "libero_10",
    "libero_90",
    "fake",
)


def build_parser() -> argparse.ArgumentParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = argparse.ArgumentParser(
        prog="physgen eval",
        description="Evaluate a policy. The same seeds give the same episodes in-process and through ROS. A "
        "run that was interrupted continues in its output folder.",
    )
    parser.add_argument(
        "--suite", default="maniskill", choices=SUITES, help="simulator, or a suite of LIBERO"
    )
    parser.add_argument(
        "--task", default="", help="environment id, or number in a LIBERO suite; default: the first"
    )
    parser.add_argument("--episodes", type=int, default=25, help="number of episodes (default 25)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first episode; episode i has seed + i"
    )
    parser.add_argument(
        "--policy", default="physgen", choices=("physgen", "expert", "replay", "random"), help="who acts"
    )
    parser.add_argument(
        "--checkpoint", default="", help="name or folder; default: the one shipped for the task"
    )
    parser.add_argument(
        "--max-steps", type=int, default=0, help="control steps per episode; 0: the task's own limit"
    )
    parser.add_argument("--through-ros", action="store_true", help="run every episode through the ROS graph")
    parser.add_argument(
        "--pace", default="lockstep", choices=("lockstep", "realtime"), help="realtime needs --through-ros"
    )
    parser.add_argument("--workers", type=int, default=0, help="worker processes; default: one per core")
    parser.add_argument("--bag-dir", default="", help="recorded bags for --policy replay")
    parser.add_argument("--libero-assets", default="", help="folder of LIBERO's assets")
    parser.add_argument(
        "--save-actions", action="store_true", help="write the applied actions of each episode (.npz)"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="output folder (results.json, results.md)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation; status 1 when an episode crashed."""
    options = build_parser().parse_args(arguments)
    from physgen_control.errors import UserError

    if options.episodes < 1 or options.seed < 0 or options.max_steps < 0:
        raise UserError("--episodes must be at least 1, --seed and --max-steps at least 0")
    if not 0 <= options.workers <= MAX_WORKERS:
        raise UserError(f"--workers must be 0 (one per core) to {MAX_WORKERS}, got {options.workers}")
    if options.pace == "realtime" and not options.through_ros:
        raise UserError(
            "--pace realtime needs --through-ros: in-process, the world always waits for the policy"
        )
    if options.policy == "random" and options.through_ros:
        raise UserError("--policy random has no node; drop --through-ros")
    from physgen_sim_bridge.registry import resolve_suite

    options.suite, options.task = resolve_suite(options.suite, options.task)
    if options.libero_assets:
        os.environ["PHYSGEN_LIBERO_ASSETS"] = str(Path(options.libero_assets).expanduser().resolve())
    return _through_ros(options) if options.through_ros else _in_process(options)


def _launch_words(options: argparse.Namespace) -> list[str]:
    policy = "expert" if options.policy == "random" else options.policy
    words = [
        f"sim:={options.suite}",
        f"policy:={policy}",
        f"episodes:={options.episodes}",
        f"seed:={options.seed}",
        f"max_steps:={options.max_steps}",
        f"pace:={options.pace}",
        f"output_dir:={options.out}",
        f"save_actions:={'true' if options.save_actions else 'false'}",
    ]
    optional = {"task": options.task, "checkpoint": options.checkpoint, "bag_dir": options.bag_dir}
    return words + [f"{name}:={value}" for name, value in optional.items() if value]


def _through_ros(options: argparse.Namespace) -> int:
    from physgen_bringup.graph import build_graph
    from physgen_bringup.launch_arguments import check_arguments, parse_arguments
    from physgen_bringup.runner import LocalRunner, PrivateDomain

    checked = check_arguments(parse_arguments(_launch_words(options)))
    _print_header(options, checked.task, Path(checked.checkpoint) if checked.checkpoint else None)
    with PrivateDomain() as domain:
        status = LocalRunner(build_graph(checked), domain_id=domain, console=_say).run()
    _say(f"Results are in {checked.output_dir}")
    return status


def _in_process(options: argparse.Namespace) -> int:
    from physgen_bringup.evaluation import EvaluationSpec
    from physgen_bringup.launch_arguments import check_arguments, parse_arguments
    from physgen_bringup.results import markdown, summarize

    checked = check_arguments(parse_arguments(_launch_words(options)))
    spec = EvaluationSpec(
        sim=options.suite,
        task=checked.task,
        policy=options.policy,
        checkpoint=Path(checked.checkpoint) if checked.checkpoint else None,
        episodes=options.episodes,
        seed=options.seed,
        max_steps=options.max_steps,
        out=checked.output_dir,
        workers=min(options.workers or os.cpu_count() or 1, options.episodes),
        save_actions=options.save_actions,
        bag_dir=checked.bag_dir if options.policy == "replay" else None,
    )
    _print_header(options, spec.task, spec.checkpoint)
    evaluation = _with_progress(spec)
    _say(markdown(evaluation))
    _say(f"Results are in {spec.out}")
    return 1 if summarize(evaluation.episodes)["crashes"] else 0


def _with_progress(spec: EvaluationSpec) -> Evaluation:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from physgen_bringup.evaluation import run_in_process
    from physgen_bringup.results import outcome, summarize

    columns = (
        TextColumn("episodes"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=spec.episodes)

        def report(evaluation: Evaluation, result: EpisodeResult | None) -> None:
            finished = spec.episodes - len(evaluation.missing(spec.seeds))
            summary = summarize(evaluation.episodes)
            progress.update(
                bar, completed=finished, description=f"success {summary['successes']}/{summary['n']}"
            )
            if result is None and finished:
                progress.console.print(f"{finished} finished episodes were found and are kept.")
            if result is not None and result.crashed:
                progress.console.print(f"seed {result.seed}: {outcome(result)}", markup=False)

        return run_in_process(spec, report)


def _print_header(options: argparse.Namespace, task: str, checkpoint: Path | None) -> None:
    from physgen_bringup.protocol import make_protocol

    protocol = make_protocol(
        sim=options.suite,
        task=task,
        policy=options.policy,
        checkpoint=checkpoint,
        pace=options.pace,
        execution="sync",
        max_steps=options.max_steps,
        transport="ros" if options.through_ros else "in-process",
    )
    last = options.seed + options.episodes - 1
    _say(
        f"{protocol.suite} {protocol.task}, policy {protocol.policy}, {protocol.transport}, {protocol.pace}\n"
        f"  episodes      {options.episodes}, seeds {options.seed} to {last}\n"
        f"  step limit    {protocol.max_steps}\n"
        f"  success rule  {protocol.success_rule}\n"
        f"  control mode  {protocol.control_mode}"
        + (f"\n  assets        {protocol.assets}" if protocol.assets else "")
        + (
            f"\n  checkpoint    {protocol.checkpoint_path} ({protocol.checkpoint_sha256[:12]})"
            if checkpoint
            else ""
        )
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
