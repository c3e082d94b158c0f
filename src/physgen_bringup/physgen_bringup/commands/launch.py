# SPDX-License-Identifier: Apache-2.0
"""`physgen launch`: the graph through `ros2 launch` where ROS 2 is, through the local runner otherwise."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence

from physgen_control.program.verbosity import take_flags

LOST_RECORDING_STATUS = 3
EPILOG = """arguments (name:=value, in any order; [default]; out:=DIR is short for output_dir:=DIR):
{table}

-q, --quiet: results and errors only; -v, --verbose: every line of every node

examples:
  physgen launch sim:=fake policy:=expert
  physgen launch task:=PushCube-v1 episodes:=5 record:=true
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the graph and return its exit status; 3 where it was to record and a recording is lost or empty."""
    words = take_flags(sys.argv[1:] if arguments is None else arguments)
    if any(word in {"-h", "--help"} for word in words):
        return _show_help()
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments, has_ros
    from physgen_control.program.progress import Progress

    progress = Progress(bars=False)
    parsed = parse_arguments(words)
    progress.say(
        f"{parsed.sim} {parsed.task}, policy {parsed.policy}; results and logs go to {parsed.output_dir}"
    )
    with progress.stage("checking the arguments"):
        checked = check_arguments(parsed)
    if has_ros() and _in_ros_workspace():
        os.execvp("ros2", ["ros2", "launch", "physgen_bringup", "franka.launch.py", *words])
    from physgen_bringup.commands.next_steps import after_launch
    from physgen_bringup.graph.describe import build_graph
    from physgen_bringup.processes.told_run import run_graph
    from physgen_bringup.results.recording_check import bags_in, check_recordings

    graph = build_graph(checked)
    before = bags_in(checked.bag_dir)
    status = run_graph(graph, progress)
    _say(f"Results and logs are in {checked.output_dir}")
    if checked.record:
        with progress.stage("checking the recordings"):
            recordings = check_recordings(checked.bag_dir, before)
        _say(recordings.line())
        if not recordings.good:
            return LOST_RECORDING_STATUS  # the loss stays the last line
    progress.next(*after_launch(checked, words, status))
    return status


def _show_help() -> int:
    from physgen_bringup.graph.arguments import argument_table

    _say("usage: physgen launch [name:=value ...]\n\n" + EPILOG.format(table=argument_table()))
    return 0


def _in_ros_workspace() -> bool:
    """The packages are installed as a workspace, so that `ros2 launch` finds the launch file."""
    if shutil.which("ros2") is None or importlib.util.find_spec("ament_index_python") is None:
        return False
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        get_package_share_directory("physgen_bringup")
    except PackageNotFoundError:
        return False
    return True


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
