# SPDX-License-Identifier: Apache-2.0
"""The options of `physgen eval`: their names, what a protocol fills in, and which go together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_control.program.command_parser import CommandParser, add_out, add_workers

if TYPE_CHECKING:
    from physgen_bringup.evaluation.presets import Preset

MAX_WORKERS = 64
DEFAULT_EPISODES = 25


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen eval",
        description="Evaluate a policy. The same seeds give the same episodes in-process and through ROS. A "
        "run that was interrupted continues in its output folder.",
        epilog="`physgen eval compare A B` tests whether two results differ, `physgen eval merge DIR` puts shards "
        "together; each has its own --help.",
        examples=(
            "physgen eval --task PushCube-v1 --episodes 125 --out runs/eval",
            "physgen eval --sim libero_object --task all --episodes 10 --out runs/libero",
            "physgen eval compare runs/base runs/tuned",
        ),
        old_names={"--suite": "--sim"},
    )
    what = parser.add_argument_group("what")
    what.add_argument(
        "--sim",
        dest="suite",
        metavar="NAME",
        default="",
        help="maniskill (default), fake, libero, a suite of LIBERO such as libero_object, or your own: module:Class",
    )
    what.add_argument(
        "--task",
        default="",
        help="environment ids or patterns, separated by commas, or all, or your own: module:NAME; default: the suite's "
        "first task",
    )
    what.add_argument(
        "--policy",
        default="physgen",
        metavar="NAME",
        help="who acts: physgen (default), expert, random, replay, lerobot (a policy of the lerobot package, see "
        "`physgen peer-train`), external (your own node, with --through-ros), or a policy of your own: module:Class",
    )
    what.add_argument(
        "--checkpoint",
        default="",
        help="name or folder; default: the one shipped for the task; lerobot: run folder or saved policy",
    )
    what.add_argument(
        "--any-task",
        action="store_true",
        help="evaluate the checkpoint also on a task that it was not trained for, to compare with what was made of it",
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
    rules.add_argument(
        "--perturb",
        default="",
        metavar="LIST",
        help="robustness: the same episodes under changes too, of camera, robot, light, noise, language, layout, "
        "texture, wrong_instruction, frozen_picture; all: the first seven; see docs/robustness.md",
    )
    rules.add_argument(
        "--level", default="", help="levels of --perturb: 1 to 5, such as 3 (default), 1,3,5 or 1..5"
    )
    rules.add_argument("--plot", type=Path, help="where the plot of a sweep goes (default: OUT/delays.png)")
    rules.add_argument(
        "--lead-steps", type=int, default=0, help="pipelined: ask so many steps early (default: the delay)"
    )

    how = parser.add_argument_group("how")
    how.add_argument("--through-ros", action="store_true", help="run every episode through the ROS graph")
    how.add_argument(
        "--viewer",
        nargs="?",
        const="rerun",
        choices=("rerun", "rerun_web"),
        help="with --through-ros: look on, in a window of Rerun (default) or in a browser on this computer",
    )
    add_workers(how, "worker processes; default: one per core", default=0)
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
    add_out(output, "output folder (results.json, results.md)", required=True)
    return parser


def apply_preset(options: argparse.Namespace) -> Preset | None:
    """Fill in what was not given, from the protocol if there is one, and return that."""
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


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that are out of range or do not go together.

    Raises:
        UserError: Which one, and what to drop or add, in one sentence.
    """
    from physgen_bringup.evaluation.delays import EXECUTIONS
    from physgen_bringup.graph.policy_kinds import unknown_policy
    from physgen_control.errors import UserError

    if sentence := unknown_policy(options.policy, in_graph=False):
        raise UserError(sentence)
    if options.any_task and options.policy != "physgen":
        raise UserError(f"--any-task is for checkpoints, not for --policy {options.policy}; drop it")
    if options.policy == "external" and not options.through_ros:
        raise UserError("--policy external is a node that you start yourself; add --through-ros")
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
    if options.level and not options.perturb:
        raise UserError("--level belongs to --perturb; say what to change, such as --perturb camera")
    if options.perturb and (
        options.delays or options.shard or options.ray is not None or options.failure_videos
    ):
        raise UserError(
            "--perturb runs one table on one machine; drop --delays, --shard, --ray and --failure-videos"
        )
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
    elif options.viewer:
        raise UserError("--viewer looks on at the graph, and in-process there is none; add --through-ros")


def _check_through_ros(options: argparse.Namespace) -> None:
    from physgen_bringup.graph.policy_kinds import policy_kind
    from physgen_control.errors import UserError

    if not policy_kind(options.policy).in_graph:
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
