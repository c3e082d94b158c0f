# SPDX-License-Identifier: Apache-2.0
"""`physgen eval`: success of a policy over many trials, in-process or through the whole graph."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_bringup.commands.evaluation_options import (
    apply_preset,
    build_parser,
    check_options,
    without_options,
)

if TYPE_CHECKING:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.evaluation.presets import Preset
    from physgen_bringup.results.results import EpisodeResult, Evaluation
    from physgen_control.program.progress import Progress

_SUBCOMMANDS = {"compare": "compare_results", "merge": "merge_results"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation; return the exit status, 1 when an episode crashed.

    Raises:
        UserError: An argument cannot be used, or the results cannot be continued.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _SUBCOMMANDS:
        from importlib import import_module

        return int(import_module(f"physgen_bringup.commands.{_SUBCOMMANDS[words[0]]}").main(words[1:]))
    options = build_parser().parse_args(words)
    from physgen_control.program.progress import Progress

    progress = Progress()
    preset = apply_preset(options)
    check_options(options)
    if options.libero_assets:
        os.environ["PHYSGEN_LIBERO_ASSETS"] = str(Path(options.libero_assets).expanduser().resolve())
    progress.say(f"Evaluation of policy {options.policy}; results go to {options.out}")
    from physgen_bringup.evaluation.presets import header
    from physgen_bringup.evaluation.selection import select_tasks
    from physgen_bringup.evaluation.shards import shard_folder
    from physgen_control.program.folder_lock import folder_lock

    with progress.stage("reading tasks and checkpoint"):
        sim, tasks = select_tasks(options.suite, options.task)
        if options.ray is not None:
            return _on_ray(options, words, progress)
        _check_tasks(options, preset, sim, tasks)
        specs = [_spec(options, preset, sim, task, len(tasks)) for task in tasks]
        for spec in specs:
            progress.say(header(spec, preset, "ros" if options.through_ros else "in-process"))
    if options.perturb:
        from physgen_bringup.commands.evaluation_perturbed import run_perturbed

        through_ros = _graphs if options.through_ros else None
        status = run_perturbed(options, specs, progress, through_ros)
        _next(specs, words, progress, status)
        return status
    if options.through_ros:
        return _through_ros(options, specs, words, progress)
    with folder_lock(shard_folder(Path(options.out).expanduser().resolve(), specs[0].shard)):
        run = _sweep if options.delays else _in_process
        return run(options, specs, words, progress)


def _check_tasks(options: argparse.Namespace, preset: Preset | None, sim: str, tasks: list[str]) -> None:
    """Refuse what cannot run as it was asked for.

    Raises:
        UserError: A task has no such policy, pace or protocol.
    """
    from physgen_control.errors import UserError
    from physgen_sim_bridge.registry import runs_by_itself

    if options.through_ros:
        if preset is not None and preset.init_states:
            raise UserError(
                "stored initial states are evaluated in-process; drop --through-ros or --protocol"
            )
        if not options.perturb:
            return
    for task in tasks:
        if runs_by_itself(sim, task):
            raise UserError(
                f"{task} has a clock of its own: it runs through the graph only (--through-ros), and unperturbed"
            )
    if options.delays and len(tasks) > 1:
        raise UserError("--delays sweeps one task; name it with --task")


def _max_steps(options: argparse.Namespace, preset: Preset | None, task: str) -> int:
    if options.max_steps is not None:
        return int(options.max_steps)
    return preset.step_limit(task) if preset else 0


def _launch_words(options: argparse.Namespace, sim: str, task: str, max_steps: int, out: Path) -> list[str]:
    from physgen_bringup.graph.policy_kinds import policy_kind

    outside = not policy_kind(options.policy).in_graph
    words = [
        f"sim:={sim}",
        f"task:={task}",
        f"policy:={'external' if outside else options.policy}",
        f"episodes:={options.episodes}",
        f"seed:={options.seed}",
        f"max_steps:={max_steps}",
        f"pace:={options.pace}",
        f"execution:={options.execution.split(',')[0]}",
        f"output_dir:={out}",
        f"save_actions:={'true' if options.save_actions else 'false'}",
    ]
    optional = {
        "checkpoint": "" if outside else options.checkpoint,
        "bag_dir": options.bag_dir,
        "viewer": options.viewer,
    }
    return words + [f"{name}:={value}" for name, value in optional.items() if value]


def _spec(
    options: argparse.Namespace, preset: Preset | None, sim: str, task: str, num_tasks: int
) -> EvaluationSpec:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.evaluation.delays import delayed, parse_delays
    from physgen_bringup.evaluation.shards import parse_shard, shard_folder
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checkpoint_fit import check_fit
    from physgen_bringup.graph.checks import check_arguments
    from physgen_bringup.results.suite_report import task_folder

    shard = parse_shard(options.shard) if options.shard else (1, 1)
    out = task_folder(shard_folder(Path(options.out), shard), task, num_tasks)
    max_steps = _max_steps(options, preset, task)
    checked = check_arguments(parse_arguments(_launch_words(options, sim, task, max_steps, out)))
    check_fit(checked, any_task=options.any_task)
    spec = EvaluationSpec(
        sim=sim,
        task=checked.task,
        policy=options.policy,
        checkpoint=_peer_folder(options) or (Path(checked.checkpoint) if checked.checkpoint else None),
        episodes=options.episodes,
        seed=options.seed,
        max_steps=max_steps,
        out=checked.output_dir,
        workers=min(options.workers or os.cpu_count() or 1, options.episodes * options.runs * num_tasks),
        save_actions=options.save_actions,
        bag_dir=checked.bag_dir if options.policy == "replay" else None,
        runs=options.runs,
        init_states=bool(preset and preset.init_states),
        shard=shard,
        preset=options.protocol,
        batch=options.batch,
        any_task=options.any_task,
    )
    if options.pace == "lockstep":
        return spec
    delays = parse_delays(options.delays)
    first = delays[0] if delays else 0
    return delayed(spec, first, options.execution.split(",")[0], spec.out, options.lead_steps)


def _peer_folder(options: argparse.Namespace) -> Path | None:
    """Return the folder of lerobot's policy, checked before a worker starts; None for other policies.

    Raises:
        UserError: It cannot be run here, or not at this pace.
    """
    if options.policy != "lerobot":
        return None
    from physgen_control.errors import UserError
    from physgen_policy.peer.description import read_lerobot_description
    from physgen_policy.peer.environment import find_lerobot

    description = read_lerobot_description(Path(options.checkpoint))
    if description.ensembles and options.pace == "realtime":
        raise UserError(
            "temporal ensembling predicts at every control step; drop --pace realtime and --delays"
        )
    find_lerobot(os.environ)
    return description.folder


def _through_ros(
    options: argparse.Namespace, specs: list[EvaluationSpec], words: list[str], progress: Progress
) -> int:
    """Every task through a graph of its own, then the tables."""
    from physgen_bringup.results.results import FILE_NAME, read

    status = _graphs(options, specs, progress)
    tasks = [spec.task for spec in specs]
    if len(tasks) > 1:
        _say(_suite_of_files(options, tasks))
    finished = [spec for spec in specs if (spec.out / FILE_NAME).is_file()]
    if finished:
        _report(
            Path(options.out).expanduser().resolve(),
            finished,
            [read(spec.out / FILE_NAME) for spec in finished],
        )
    _say(f"Results are in {options.out}")
    _next(specs, words, progress, status)
    return status


def _graphs(options: argparse.Namespace, specs: list[EvaluationSpec], progress: Progress) -> int:
    """One graph after the other; the largest exit status."""
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments
    from physgen_bringup.graph.describe import build_graph
    from physgen_bringup.processes.told_run import run_graph

    status = 0
    for spec in specs:
        launch = _launch_words(options, spec.sim, spec.task, spec.max_steps, spec.out)
        launch += [f"perturb:={spec.perturbation}"] if spec.perturbation else []
        graph = build_graph(check_arguments(parse_arguments(launch)))
        if options.any_task:
            graph = graph.with_parameters("policy_node", task="")
        status = max(status, run_graph(graph, progress))
    return status


def _suite_of_files(options: argparse.Namespace, tasks: list[str]) -> str:
    """Write and return the table of all tasks from their results files."""
    from physgen_bringup.results.results import FILE_NAME, read
    from physgen_bringup.results.suite_report import task_folder, write_suite

    out = Path(options.out).expanduser().resolve()
    folders = [task_folder(out, task, len(tasks)) for task in tasks]
    return write_suite(out, [read(folder / FILE_NAME) for folder in folders], folders)


def _in_process(
    options: argparse.Namespace, specs: list[EvaluationSpec], words: list[str], progress: Progress
) -> int:
    from physgen_bringup.commands.evaluation_progress import run_with_progress
    from physgen_bringup.evaluation.run import film_failures
    from physgen_bringup.evaluation.shards import shard_folder
    from physgen_bringup.results.results import markdown, summarize
    from physgen_bringup.results.suite_report import write_suite

    evaluations = run_with_progress(specs, progress)
    for evaluation in evaluations:
        _say(markdown(evaluation))
    out = shard_folder(Path(options.out).expanduser().resolve(), specs[0].shard)
    if len(specs) > 1:
        _say(write_suite(out, evaluations, [spec.out for spec in specs]))
    if options.failure_videos:
        with progress.stage("filming failures"):
            videos = film_failures(specs, evaluations, options.failure_videos)
        _say("\n".join(f"Video of a failure: {path}" for path in videos) or "No episode failed: no videos.")
    _report(out, specs, evaluations)
    _say(f"Results are in {out}")
    status = int(any(summarize(evaluation.episodes)["crashes"] for evaluation in evaluations))
    _next(specs, words, progress, status)
    return status


def _sweep(
    options: argparse.Namespace, specs: list[EvaluationSpec], words: list[str], progress: Progress
) -> int:
    from dataclasses import replace

    from physgen_bringup.commands.evaluation_progress import run_with_progress
    from physgen_bringup.evaluation.delays import DelayPoint, parse_delays, sweep_specs, write_sweep
    from physgen_bringup.results.results import summarize

    [spec] = specs
    swept = sweep_specs(
        replace(spec, shard=(1, 1)),
        parse_delays(options.delays),
        options.execution.split(","),
        options.lead_steps,
    )
    evaluations = run_with_progress(list(swept.values()), progress)
    points = [
        DelayPoint(ms, execution, evaluation)
        for (execution, ms), evaluation in zip(swept, evaluations, strict=True)
    ]
    _say(write_sweep(spec.out, points, options.plot))
    _say(f"Results are in {spec.out}, the plot in {options.plot or spec.out / 'delays.png'}")
    status = int(any(summarize(evaluation.episodes)["crashes"] for evaluation in evaluations))
    _next(specs, words, progress, status)
    return status


def _on_ray(options: argparse.Namespace, words: list[str], progress: Progress) -> int:
    from physgen_bringup.commands.merge_results import main as merge
    from physgen_bringup.evaluation.ray_shards import run_on_ray

    out = Path(options.out).expanduser().resolve()
    with progress.stage("shards on the Ray cluster"):
        run_on_ray(
            without_options(words, "--out", "--ray", "--shards"),
            options.shards,
            out,
            options.ray,
            progress.say,
        )
    return merge([str(out)])


def _report(out: Path, specs: list[EvaluationSpec], evaluations: list[Evaluation]) -> None:
    """Write the report, with the films of failures that are there."""
    from physgen_bringup.episode.tally import file_stem
    from physgen_bringup.evaluation.run import video_path
    from physgen_bringup.results.evaluation_report import write_evaluation_report

    def film(index: int, episode: EpisodeResult) -> Path | None:
        path = video_path(specs[index].out, file_stem(episode.trial))
        return path if path.is_file() else None

    _say(f"Report: {write_evaluation_report(out, evaluations, film)}")


def _next(specs: list[EvaluationSpec], words: list[str], progress: Progress, status: int) -> None:
    """Say what to type next, from what the first task's results say."""
    from physgen_bringup.commands.next_steps import PHYSGEN, after_evaluation
    from physgen_bringup.results.results import FILE_NAME, read, summarize
    from physgen_control.errors import UserError

    spec = specs[0]
    if spec.shard[1] > 1:
        progress.next(PHYSGEN, "eval", "merge", spec.out.parents[1])
        return
    try:
        summary = summarize(read(spec.out / FILE_NAME).episodes)
    except UserError:  # the graph ended before there was a result
        summary = {"n": 0, "successes": 0}
    failures = summary["n"] - summary["successes"]
    progress.next(*after_evaluation(spec, words, failures=failures, crashes=status))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
