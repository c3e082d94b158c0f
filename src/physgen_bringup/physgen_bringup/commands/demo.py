# SPDX-License-Identifier: Apache-2.0
"""`physgen demo`: the shipped policy through the whole graph, then a success table, a video and plots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_out


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen demo",
        description="Run the shipped checkpoint on ManiSkill PushCube through the whole ROS graph, record "
        "it, and write a success table, a video and plots.",
        examples=("physgen demo --episodes 3 --out runs/demo", "physgen demo --task PickCube-v1"),
        old_names={"--output-dir": "--out"},
    )
    add_out(parser, "output folder (default: runs/<stamp>)", default="")
    parser.add_argument("--episodes", type=int, default=10, help="number of episodes (default 10)")
    # Far away from the seeds of the demonstrations the checkpoint was trained on.
    parser.add_argument(
        "--seed", type=int, default=1_000_000, help="seed of the first episode (default 1000000)"
    )
    parser.add_argument("--sim", default="maniskill", help="simulator, as in `physgen launch`")
    parser.add_argument("--task", default="", help="environment id; default: the simulator's first task")
    parser.add_argument(
        "--policy",
        default="",
        help="who acts, as in `physgen launch` (default physgen; in the fake world, for which nothing was trained, "
        "expert)",
    )
    parser.add_argument(
        "--checkpoint", default="", help="name or folder; default: the one shipped for the task"
    )
    parser.add_argument(
        "--viewer",
        nargs="?",
        const="rerun",
        choices=("rerun", "rerun_web"),
        help="look on: in a window of Rerun (default), or in a browser on this computer",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the status is that of the graph."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments
    from physgen_bringup.graph.describe import build_graph
    from physgen_bringup.processes.told_run import run_graph
    from physgen_control.program.progress import Progress

    progress = Progress()
    policy = options.policy or ("expert" if options.sim == "fake" and not options.checkpoint else "physgen")
    words = [
        f"sim:={options.sim}",
        f"policy:={policy}",
        f"episodes:={options.episodes}",
        f"seed:={options.seed}",
        "record:=true",
    ]
    optional = {
        "output_dir": options.out,
        "task": options.task,
        "checkpoint": options.checkpoint,
        "viewer": options.viewer,
    }
    words += [f"{name}:={value}" for name, value in optional.items() if value]
    parsed = parse_arguments(words)
    last = options.seed + options.episodes - 1
    progress.say(
        f"{parsed.task}, policy {parsed.policy}, seeds {options.seed} to {last}, into {parsed.output_dir}"
    )
    with progress.stage("reading the checkpoint"):
        checked = check_arguments(parsed)
    graph = build_graph(checked).with_parameters("recorder_node", predicted=True)
    status = run_graph(graph, progress)
    if (checked.output_dir / "results.json").is_file() and checked.bag_dir.is_dir():
        with progress.stage("drawing film and plots"):
            written = render(checked.output_dir, checked.bag_dir)
            written.append(report(checked.output_dir, written))
        for path in written:
            _say(f"wrote {path}")
    progress.next("./physgen", "view", checked.bag_dir)
    return status


def report(output_dir: Path, pictures: list[Path]) -> Path:
    """Write the page that shows results, film and plots together; returns its path."""
    from physgen_bringup.results import results
    from physgen_bringup.results.evaluation_report import write_evaluation_report
    from physgen_bringup.results.html_page import MediaFile

    evaluation = results.read(output_dir / results.FILE_NAME)
    media = [MediaFile(path, path.stem.replace("_", " ")) for path in pictures]
    return write_evaluation_report(output_dir, [evaluation], lambda _index, _episode: None, media)


def render(output_dir: Path, bag_dir: Path) -> list[Path]:
    """Write video and plots of recorded episodes; returns what was written."""
    from physgen_bringup.pictures import pictures as artifacts
    from physgen_bringup.pictures.recordings import load_recordings
    from physgen_bringup.results import results

    recordings, left_out = load_recordings(bag_dir)
    for sentence in left_out:
        _say(sentence)
    if not recordings:
        return []
    evaluation = results.read(output_dir / results.FILE_NAME)
    plots = output_dir / "plots"
    written = [artifacts.write_video(recordings, output_dir / "demo.mp4", rate_hz=recordings[0].rate_hz)]
    written += [
        artifacts.plot_actions(recording, plots / f"actions_{recording.seed}.png") for recording in recordings
    ]
    written.append(artifacts.plot_tcp_paths(recordings, plots / "tcp_paths.png"))
    written.append(artifacts.plot_latencies(evaluation.latencies.samples(), plots / "latency.png"))
    return written


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
