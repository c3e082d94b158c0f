# SPDX-License-Identifier: Apache-2.0
"""The files in examples/ do what their heads say, through the real commands."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physgen_bringup.commands import evaluate
from physgen_bringup.graph.domain import running_graphs
from physgen_control.errors import UserError

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = ROOT / "examples"
TIMEOUT_S = 280


def physgen(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "physgen_bringup.cli", *words],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def started(*words: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def evaluated(out: Path, *words: str) -> list[dict[str, Any]]:
    done = physgen("eval", *words, "--workers", "1", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    episodes: list[dict[str, Any]] = json.loads((out / "results.json").read_text())["episodes"]
    return episodes


def test_five_lines_of_python_act():
    done = physgen("python", "examples/five_lines.py")
    assert done.stdout == "(3, 8, 7) float32\n", done.stderr


def test_the_shell_has_the_environment_of_the_stack():
    done = physgen("shell", "-c", "python -c 'import physgen, physgen_msgs.msg; print(physgen.__version__)'")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0.1.0\n"


@pytest.mark.parametrize("name", ["own_policy.py", "own_world.py", "own_maniskill_task.py", "five_lines.py"])
def test_examples_are_short(name):
    most = {"own_policy.py": 35, "own_world.py": 80, "own_maniskill_task.py": 45, "five_lines.py": 12}
    assert len((EXAMPLES / name).read_text().splitlines()) <= most[name]


def test_an_own_policy_is_evaluated(tmp_path):
    """It sees the arm's state: the hand goes on to 20 cm and then rests, and the same seed repeats itself."""
    words = ("--policy", "examples/own_policy.py:Forward", "--sim", "fake", "--max-steps", "24")
    [episode] = evaluated(tmp_path / "one", *words, "--episodes", "1", "--save-actions")
    assert episode["steps"] == 24
    assert not episode["crashed"]


def test_an_own_world_is_evaluated_with_its_expert(tmp_path):
    words = ("--sim", "examples/own_world.py:DotWorld", "--policy", "expert")
    assert [episode["success"] for episode in evaluated(tmp_path, *words, "--episodes", "2")] == [True, True]


@pytest.mark.sim
def test_an_own_maniskill_task_is_solved_by_the_expert_that_it_names(tmp_path):
    pytest.importorskip("mani_skill")
    words = ("--task", "examples/own_maniskill_task.py:PUSH_FAR", "--policy", "expert")
    assert [episode["success"] for episode in evaluated(tmp_path, *words, "--episodes", "1")] == [True]


@pytest.mark.ros
def test_an_own_policy_acts_in_a_graph_as_it_does_alone(tmp_path):
    """Applied actions through ROS are those of the same seed in one process, with the arm's state in both."""
    words = ("--policy", "examples/own_policy.py:Forward", "--sim", "fake", "--episodes", "1")
    more = ("--max-steps", "24", "--save-actions")
    evaluated(tmp_path / "alone", *words, *more)
    evaluated(tmp_path / "graph", *words, *more, "--through-ros")
    alone, graph = ((tmp_path / name / "actions").glob("*.npz") for name in ("alone", "graph"))
    for ours, theirs in zip(sorted(alone), sorted(graph), strict=True):
        with np.load(ours) as one, np.load(theirs) as other:
            assert set(one.files) == set(other.files)
            np.testing.assert_array_equal(one["applied"], other["applied"])
            assert float(one["applied"][:8, 0].sum()) > 0.1


@pytest.mark.ros
def test_an_own_world_runs_in_a_graph(tmp_path):
    done = physgen(
        "launch",
        "sim:=examples/own_world.py:DotWorld",
        "policy:=expert",
        f"output_dir:={tmp_path}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "results.json").read_text())["summary"]["successes"] == 1


@pytest.mark.ros
def test_a_node_of_ones_own_acts_in_a_graph(tmp_path):
    """The graph waits for it, and its numbers are what is applied."""
    words = ("launch", "policy:=external", "sim:=fake", "max_steps:=16", "save_actions:=true")
    free = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    launch = started("-m", "physgen_bringup.cli", *words, f"output_dir:={tmp_path}", environment=free)
    node = None
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not (domains := [g.domain for g in running_graphs() if g.output_dir == str(tmp_path)]):
            assert launch.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        environment = {**free, "ROS_DOMAIN_ID": str(domains[0])}
        node = started(str(EXAMPLES / "external_policy.py"), environment=environment)
        output, _ = launch.communicate(timeout=TIMEOUT_S)
    finally:
        for process in (launch, node):
            if process is not None:
                process.terminate()
                try:
                    process.communicate(timeout=60)
                finally:
                    process.kill()
    assert launch.returncode == 0, output
    assert node.returncode == 0
    [episode] = json.loads((tmp_path / "results.json").read_text())["episodes"]
    assert (episode["steps"], episode["crashed"]) == (16, False)
    [saved] = (tmp_path / "actions").glob("*.npz")
    with np.load(saved) as actions:
        np.testing.assert_allclose(actions["applied"][:, 2], -0.005, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--policy", "nowhere:Thing"), "there is no module 'nowhere'"),
        (("--policy", "examples/own_policy.py:Backward"), "has no 'Backward'"),
        (("--policy", "examples/own_world.py:DotWorld"), "must be a subclass of physgen.Policy"),
        (("--policy", "lerobo"), "there is no policy 'lerobo'"),
        (("--sim", "examples/own_policy.py:Forward"), "must be a subclass of"),
        (("--task", "examples/own_world.py:DOWN"), "it must be a ManiSkillTask"),
        (("--any-task", "--policy", "expert"), "--any-task is for checkpoints"),
        (("--sim", "fake", "--checkpoint", "pushcube-tiny"), "--any-task"),
        (("--policy", "external"), "add --through-ros"),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_any_worker_starts(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=sentence) as refused:
        evaluate.main([*words, "--out", str(tmp_path / "out")])
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_refusal_ends_the_command_without_a_traceback(tmp_path):
    done = physgen("eval", "--policy", "nowhere:Thing", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("physgen eval: there is no module 'nowhere'")
    assert len(done.stderr.strip().splitlines()) == 1
