# SPDX-License-Identifier: Apache-2.0
"""`physgen eval`: success of a policy over many trials, in-process or through the whole graph."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.evaluation.presets import Preset

MAX_WORKERS = 64
DEFAULT_EPISODES = 25
_SUBCOMMANDS = {"compare": "compare_results", "merge": "merge_results"}


def build_parser() -> argparse.ArgumentParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = argparse.ArgumentParser(
        prog="physgen eval",
        description="Evaluate a policy. The same seeds give the same episodes in-process and through ROS. A "
        "run that was interrupted continues in its output folder.",
        epilog="`physgen eval compare A B` tests whether two results differ, `physgen eval merge DIR` puts shards "
        "together; each has its own --help.",
    )
    what = parser.add_argument_group("what")
    what.add_argument(
        "--suite",
        default="",
        help="maniskill (default), fake, libero, or a suite of LIBERO such as libero_object",
    )
    what.add_argument(
        "--task",
        default="",
        help="environment ids or patterns, separated by commas, or all; default: the suite's first task",
    )
    what.add_argument(
        "--policy",
        default="physgen",
        choices=("physgen", "lerobot", "expert", "replay", "random"),
        help="who acts; lerobot: a policy of the lerobot package, see `physgen peer-train`",
    )
    what.add_argument(
        "--checkpoint",
        default="",
        help="name or folder; default: the one shipped for the task; lerobot: run folder or saved policy",
    )
    what.add_argument("--bag-dir", default="", help="recorded bags for --policy replay")
    what.add_argument("--libero-assets", default="", help="folder of LIBERO's assets")

    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--protocol",
        default="",
        help="a published protocol: physgen, rdt (ManiSkill), openvla, lerobot (LIBERO); it sets what is not given",
    )
    rules.add_argument("--episodes", type=int, help=f"episodes per task and run (default {DEFAULT_EPISODES})")
    rules.add_argument(
        "--seed", type=int, help="seed of the first episode (default 0); episode i has seed + i"
    )
    rules.add_argument(
        "--runs", type=int, help="repeat all with other random numbers of the policy (default 1)"
    )
    rules.add_argument(
        "--max-steps", type=int, help="control steps per episode; 0: the task's own limit (default)"
    )
    rules.add_argument(
        "--pace", default="", choices=("lockstep", "realtime"), help="realtime: the world does not wait"
    )
    rules.add_argument(
        "--execution", default="sync", help="sync or pipelined; with --delays also sync,pipelined"
    )
    rules.add_argument(
        "--delays",
        default="",
        metavar="MS",
        help="pace realtime with chunks so many milliseconds late, in simulated time: 150, or a sweep 0,50,...,500",
    )
    rules.add_argument("--plot", type=Path, help="where the plot of a sweep goes (default: OUT/delays.png)")
    rules.add_argument(
        "--lead-steps", type=int, default=0, help="pipelined: ask so many steps early (default: the delay)"
    )

    how = parser.add_argument_group("how")
    how.add_argument("--through-ros", action="store_true", help="run every episode through the ROS graph")
    how.add_argument("--workers", type=int, default=0, help="worker processes; default: one per core")
    how.add_argument(
        "--batch",
        type=int,
        default=0,
        help="share one policy that computes batches of so many rows (for a GPU); default: one policy per worker",
    )
    how.add_argument(
        "--shard", default="", metavar="I/N", help="run only the I-th of N parts; see `eval merge`"
    )
    how.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="run the shards of --shards on a Ray cluster",
    )
    how.add_argument("--shards", type=int, default=2, help="parts of a run with --ray (default 2)")

    output = parser.add_argument_group("output")
    output.add_argument(
        "--failure-videos",
        type=int,
        default=0,
        metavar="N",
        help="write videos of the first N failed episodes of each task (they are run again, drawing every step)",
    )
    output.add_argument(
        "--save-actions", action="store_true", help="write the applied actions of each episode (.npz)"
    )
    output.add_argument(
        "--out", required=True, metavar="DIR", help="output folder (results.json, results.md)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation; status 1 when an episode crashed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _SUBCOMMANDS:
        from importlib import import_module

        return int(import_module(f"physgen_bringup.commands.{_SUBCOMMANDS[words[0]]}").main(words[1:]))
    options = build_parser().parse_args(words)
    preset = _apply_preset(options)
    _check(options)
    if options.libero_assets:
        os.environ["PHYSGEN_LIBERO_ASSETS"] = str(Path(options.libero_assets).expanduser().resolve())
    from physgen_bringup.evaluation.presets import header
    from physgen_bringup.evaluation.selection import select_tasks
    from physgen_control.errors import UserError
    from physgen_sim_bridge.registry import runs_by_itself

    sim, tasks = select_tasks(options.suite, options.task)
    if options.ray is not None:
        return _on_ray(options, words)
    if options.through_ros:
        status = max(_through_ros(options, preset, sim, task, len(tasks)) for task in tasks)
        if len(tasks) > 1:
            _say(_suite_of_files(options, tasks))
        return status
    for task in tasks:
        if runs_by_itself(sim, task):
            raise UserError(
                f"{task} has a clock of its own and runs through the graph only; add --through-ros"
            )
    specs = [_spec(options, preset, sim, task, len(tasks)) for task in tasks]
    if options.delays and len(specs) > 1:
        raise UserError("--delays sweeps one task; name it with --task")
    from physgen_bringup.evaluation.shards import shard_folder
    from physgen_control.program.folder_lock import folder_lock

    for spec in specs:
        _say(header(spec, preset))
    with folder_lock(shard_folder(Path(options.out).expanduser().resolve(), specs[0].shard)):
        return _sweep(options, specs[0]) if options.delays else _in_process(options, specs)


def _apply_preset(options: argparse.Namespace) -> Preset | None:
    """Fill in what was not given."""
    preset = None
    if options.protocol:
        from physgen_bringup.evaluation.presets import find_preset

        preset = find_preset(options.protocol, options.suite)
        options.suite = options.suite or preset.suite
        options.task = options.task or preset.tasks
    for name, default in (("episodes", DEFAULT_EPISODES), ("seed", 0), ("runs", 1)):
        if getattr(options, name) is None:
            setattr(options, name, getattr(preset, name) if preset else default)
    options.suite = options.suite or "maniskill"
    options.pace = options.pace or ("realtime" if options.delays else "lockstep")
    return preset


def _check(options: argparse.Namespace) -> None:
    from physgen_bringup.evaluation.delays import EXECUTIONS
    from physgen_control.errors import UserError

    if options.episodes < 1 or options.seed < 0 or (options.max_steps or 0) < 0 or options.runs < 1:
        raise UserError("--episodes and --runs must be at least 1, --seed and --max-steps at least 0")
    if not 0 <= options.workers <= MAX_WORKERS:
        raise UserError(f"--workers must be 0 (one per core) to {MAX_WORKERS}, got {options.workers}")
    if not 0 <= options.batch <= MAX_WORKERS or options.failure_videos < 0 or options.shards < 1:
        raise UserError(
            f"--batch must be 0 to {MAX_WORKERS}, --failure-videos at least 0, --shards at least 1"
        )
    executions = options.execution.split(",")
    if not set(executions) <= set(EXECUTIONS):
        raise UserError(f"--execution must be of {', '.join(EXECUTIONS)}, got {options.execution!r}")
    if len(executions) > 1 and not options.delays:
        raise UserError("--execution takes several values only with --delays")
    if options.pace == "lockstep" and (options.delays or executions != ["sync"]):
        raise UserError(
            "--delays and --execution pipelined need --pace realtime: in lockstep the world waits for every chunk"
        )
    if "pipelined" in executions and options.policy != "physgen" and not options.through_ros:
        raise UserError(
            f"--execution pipelined is for --policy physgen; {options.policy} asks when its last chunk is over"
        )
    if options.batch and options.policy != "physgen":
        raise UserError(f"--batch is for --policy physgen, not {options.policy}; drop it")
    if options.shard and options.ray is not None:
        raise UserError("--ray makes its own shards (--shards N); drop --shard")
    if options.failure_videos and (options.shard or options.ray is not None or options.delays):
        raise UserError("--failure-videos works on one whole evaluation; drop --shard, --ray and --delays")
    if options.delays and (options.shard or options.ray is not None):
        raise UserError("a sweep of --delays runs on one machine; drop --shard and --ray")
    if options.policy == "replay" and (options.runs > 1 or options.pace == "realtime"):
        raise UserError("--policy replay repeats recordings in lockstep; drop --runs and --pace realtime")
    if options.policy == "lerobot" and not options.checkpoint:
        raise UserError(
            "--policy lerobot needs --checkpoint FOLDER, a policy that lerobot saved or a run of `physgen peer-train`"
        )
    if options.through_ros:
        _check_through_ros(options)


def _check_through_ros(options: argparse.Namespace) -> None:
    from physgen_control.errors import UserError

    if options.policy in ("random", "lerobot"):
        raise UserError(f"--policy {options.policy} has no node; drop --through-ros")
    for name, used in (
        ("--delays", options.delays),
        ("--runs", options.runs > 1),
        ("--batch", options.batch),
        ("--shard", options.shard),
        ("--ray", options.ray is not None),
        ("--failure-videos", options.failure_videos),
    ):
        if used:
            raise UserError(f"{name} works in-process only; drop it or --through-ros")


def _max_steps(options: argparse.Namespace, preset: Preset | None, task: str) -> int:
    if options.max_steps is not None:
        return int(options.max_steps)
    return preset.step_limit(task) if preset else 0


def _launch_words(options: argparse.Namespace, sim: str, task: str, max_steps: int, out: Path) -> list[str]:
    outside = options.policy in ("random", "lerobot")  # the graph has no node for it
    words = [
        f"sim:={sim}",
        f"task:={task}",
        f"policy:={'expert' if outside else options.policy}",
        f"episodes:={options.episodes}",
        f"seed:={options.seed}",
        f"max_steps:={max_steps}",
        f"pace:={options.pace}",
        f"execution:={options.execution.split(',')[0]}",
        f"output_dir:={out}",
        f"save_actions:={'true' if options.save_actions else 'false'}",
    ]
    optional = {"checkpoint": "" if outside else options.checkpoint, "bag_dir": options.bag_dir}
    return words + [f"{name}:={value}" for name, value in optional.items() if value]


def _spec(
    options: argparse.Namespace, preset: Preset | None, sim: str, task: str, num_tasks: int
) -> EvaluationSpec:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.evaluation.delays import delayed, parse_delays
    from physgen_bringup.evaluation.shards import parse_shard, shard_folder
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments
    from physgen_bringup.results.suite_report import task_folder

    shard = parse_shard(options.shard) if options.shard else (1, 1)
    out = task_folder(shard_folder(Path(options.out), shard), task, num_tasks)
    max_steps = _max_steps(options, preset, task)
    checked = check_arguments(parse_arguments(_launch_words(options, sim, task, max_steps, out)))
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
    )
    if options.pace == "lockstep":
        return spec
    delays = parse_delays(options.delays)
    first = delays[0] if delays else 0
    return delayed(spec, first, options.execution.split(",")[0], spec.out, options.lead_steps)


def _peer_folder(options: argparse.Namespace) -> Path | None:
    """The folder of lerobot's policy, checked before a worker starts; None for other policies."""
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
    options: argparse.Namespace, preset: Preset | None, sim: str, task: str, num_tasks: int
) -> int:
    from physgen_bringup.evaluation.presets import header
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments
    from physgen_bringup.graph.describe import build_graph
    from physgen_bringup.graph.domain import graph_domain
    from physgen_bringup.processes.runner import LocalRunner
    from physgen_bringup.results.suite_report import task_folder
    from physgen_control.errors import UserError
    from physgen_control.program.folder_lock import folder_lock

    if preset is not None and preset.init_states:
        raise UserError("stored initial states are evaluated in-process; drop --through-ros or --protocol")
    out = task_folder(Path(options.out), task, num_tasks)
    words = _launch_words(options, sim, task, _max_steps(options, preset, task), out)
    checked = check_arguments(parse_arguments(words))
    spec = _spec(options, preset, sim, task, num_tasks)
    _say(header(spec, preset, "ros"))
    graph = build_graph(checked)
    with (
        folder_lock(checked.output_dir),
        graph_domain(checked.output_dir, graph.environment, _say) as domain,
    ):
        status = LocalRunner(graph, domain_id=domain, console=_say).run()
    _say(f"Results are in {checked.output_dir}")
    return status


def _suite_of_files(options: argparse.Namespace, tasks: list[str]) -> str:
    """Write and return the table of all tasks from their results files."""
    from physgen_bringup.results.results import FILE_NAME, read
    from physgen_bringup.results.suite_report import task_folder, write_suite

    out = Path(options.out).expanduser().resolve()
    folders = [task_folder(out, task, len(tasks)) for task in tasks]
    return write_suite(out, [read(folder / FILE_NAME) for folder in folders], folders)


def _in_process(options: argparse.Namespace, specs: list[EvaluationSpec]) -> int:
    from physgen_bringup.commands.evaluation_progress import run_with_progress
    from physgen_bringup.evaluation.run import film_failures
    from physgen_bringup.evaluation.shards import shard_folder
    from physgen_bringup.results.results import markdown, summarize
    from physgen_bringup.results.suite_report import write_suite

    evaluations = run_with_progress(specs)
    for evaluation in evaluations:
        _say(markdown(evaluation))
    out = shard_folder(Path(options.out).expanduser().resolve(), specs[0].shard)
    if len(specs) > 1:
        _say(write_suite(out, evaluations, [spec.out for spec in specs]))
    if options.failure_videos:
        videos = film_failures(specs, evaluations, options.failure_videos)
        _say("\n".join(f"Video of a failure: {path}" for path in videos) or "No episode failed: no videos.")
    _say(f"Results are in {out}")
    return _status([summarize(evaluation.episodes)["crashes"] for evaluation in evaluations])


def _sweep(options: argparse.Namespace, spec: EvaluationSpec) -> int:
    from dataclasses import replace

    from physgen_bringup.commands.evaluation_progress import run_with_progress
    from physgen_bringup.evaluation.delays import DelayPoint, parse_delays, sweep_specs, write_sweep
    from physgen_bringup.results.results import summarize

    specs = sweep_specs(
        replace(spec, shard=(1, 1)),
        parse_delays(options.delays),
        options.execution.split(","),
        options.lead_steps,
    )
    evaluations = run_with_progress(list(specs.values()))
    points = [
        DelayPoint(ms, execution, evaluation)
        for (execution, ms), evaluation in zip(specs, evaluations, strict=True)
    ]
    _say(write_sweep(spec.out, points, options.plot))
    _say(f"Results are in {spec.out}, the plot in {options.plot or spec.out / 'delays.png'}")
    return _status([summarize(evaluation.episodes)["crashes"] for evaluation in evaluations])


def _on_ray(options: argparse.Namespace, words: list[str]) -> int:
    from physgen_bringup.commands.merge_results import main as merge
    from physgen_bringup.evaluation.ray_shards import run_on_ray

    out = Path(options.out).expanduser().resolve()
    run_on_ray(without_options(words, "--out", "--ray", "--shards"), options.shards, out, options.ray, _say)
    return merge([str(out)])


def without_options(words: Sequence[str], *names: str) -> list[str]:
    """The words without some options and their values (which may also follow an equals sign)."""
    kept: list[str] = []
    skip = False
    for word in words:
        if word.split("=")[0] in names:
            skip = "=" not in word
        elif skip and not word.startswith("--"):
            skip = False
        else:
            skip = False
            kept.append(word)
    return kept


def _status(crashes: list[int]) -> int:
    return 1 if any(crashes) else 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
