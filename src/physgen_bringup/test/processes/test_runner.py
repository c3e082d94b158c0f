# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from physgen_bringup.graph.spec import Graph, NodeSpec
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.errors import UserError

HERE = Path(__file__).parents[1]


def node(tmp_path: Path, name: str, what: str, required: bool = True) -> NodeSpec:
    return NodeSpec(
        package="test",
        executable=name,
        module="graph_dummy_node",
        name=name,
        arguments=(what, str(tmp_path / name)),
        required=required,
    )


def graph(tmp_path: Path, *nodes: NodeSpec, ends_with: str | None = None) -> Graph:
    return Graph(nodes=nodes, output_dir=tmp_path / "out", ends_with=ends_with)


def make_runner(the_graph: Graph, lines: list[str]) -> LocalRunner:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return LocalRunner(the_graph, console=lines.append, environment={"PYTHONPATH": path})


def wait_for(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_graph_ends_with_its_main_node_and_all_processes_are_gone(tmp_path):
    lines: list[str] = []
    runner = make_runner(
        graph(tmp_path, node(tmp_path, "a", "sleep"), node(tmp_path, "main", "finish"), ends_with="main"),
        lines,
    )
    assert runner.run() == 0
    assert gone(runner.pid("a"))
    assert "all done" in lines
    assert "all done" in (tmp_path / "out" / "logs" / "main.log").read_text()


def test_death_of_a_required_node_stops_the_others_and_is_explained(tmp_path):
    lines: list[str] = []
    runner = make_runner(
        graph(tmp_path, node(tmp_path, "a", "sleep"), node(tmp_path, "b", "fail"), ends_with=None), lines
    )
    assert runner.run() != 0
    text = "\n".join(lines)
    assert "b ended with status 3" in text
    assert "the cable is not plugged in" in text
    assert gone(runner.pid("a"))


def test_death_of_an_optional_node_does_not_end_the_graph(tmp_path):
    runner = make_runner(
        graph(tmp_path, node(tmp_path, "a", "sleep"), node(tmp_path, "b", "fail", required=False)), []
    )
    try:
        runner.start()
        wait_for(lambda: not runner.alive("b"))
        with pytest.raises(TimeoutError):
            runner.wait(timeout_s=0.3)
        assert runner.alive("a")
    finally:
        runner.stop()


def test_nodes_stop_in_reverse_order(tmp_path):
    names = ["world", "controller", "policy"]
    runner = make_runner(graph(tmp_path, *(node(tmp_path, name, "sleep") for name in names)), [])
    try:
        runner.start()
        wait_for(lambda: all((tmp_path / name).exists() for name in names))
    finally:
        runner.stop()
    assert (tmp_path / "order").read_text().split() == list(reversed(names))


def test_a_node_that_ignores_signals_and_its_children_are_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "physgen_bringup.processes.runner.STOP_GRACE_S", {signal.SIGINT: 0.2, signal.SIGKILL: 5.0}
    )
    runner = make_runner(
        graph(tmp_path, node(tmp_path, "stubborn", "stubborn"), node(tmp_path, "parent", "parent")), []
    )
    try:
        runner.start()
        wait_for(lambda: (tmp_path / "stubborn").exists() and (tmp_path / "parent").exists())
    finally:
        runner.stop()
    child = int((tmp_path / "parent.child").read_text())
    wait_for(lambda: gone(child) and gone(runner.pid("stubborn")))


SCRIPT = """
import sys
sys.path[:0] = {folders!r}
from pathlib import Path
from test_runner import graph, make_runner, node
tmp_path = Path({tmp!r})
kinds = {{"a": "sleep", "stubborn": "stubborn", "parent": "parent"}}
nodes = [node(tmp_path, name, kind) for name, kind in kinds.items()]
runner = make_runner(graph(tmp_path, *nodes), [])
runner.console = print
status = runner.run()
print("status", status, flush=True)
"""


def start_script(tmp_path: Path, hangup: str = "SIG_DFL") -> tuple[subprocess.Popen[str], list[int]]:
    code = textwrap.dedent(SCRIPT.format(folders=[str(HERE / "processes"), str(HERE)], tmp=str(tmp_path)))
    # Whoever runs the tests may ignore SIGHUP (nohup), and children inherit that.
    hangup = f"import signal; signal.signal(signal.SIGHUP, signal.{hangup}); "
    process = subprocess.Popen([sys.executable, "-c", hangup + code], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: all((tmp_path / name).exists() for name in ("a", "stubborn", "parent")))
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert len(pids) >= 5
    return process, pids


def test_no_orphans_when_the_runner_is_killed(tmp_path):
    """A killed runner cannot clean up; the kernel and the reaper do."""
    process, pids = start_script(tmp_path)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    wait_for(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_stop_cleanly(tmp_path, number):
    process, pids = start_script(tmp_path)
    process.send_signal(number)
    wait_for(lambda: (tmp_path / "order").exists())
    process.send_signal(number)  # twice: at once
    output, _ = process.communicate(timeout=30)
    assert "status 130" in output
    assert all(gone(pid) for pid in pids)


def test_under_nohup_a_closed_terminal_is_ignored(tmp_path):
    process, pids = start_script(tmp_path, hangup="SIG_IGN")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    assert not any(gone(pid) for pid in pids)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: (tmp_path / "order").exists())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert "status 130" in output


def test_nodes_of_a_ros_installation_are_refused_with_a_sentence(tmp_path):
    spec = NodeSpec(package="tf2_ros", executable="static_transform_publisher", name="camera_transform")
    with pytest.raises(UserError, match=r"camera_transform.*Docker"):
        LocalRunner(graph(tmp_path, spec))
