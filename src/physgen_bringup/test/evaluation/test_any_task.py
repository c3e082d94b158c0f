# SPDX-License-Identifier: Apache-2.0
"""A checkpoint on a task that it was not trained for: refused before any worker starts, unless it is asked for."""

import json
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.commands import collect, evaluate
from physgen_control.errors import UserError

WORDS = ["--suite", "fake", "--episodes", "1", "--max-steps", "8", "--workers", "1"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for another task."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("other") / "tiny", tasks=("Other-v0",))


def test_another_task_is_refused_with_the_way_out(tmp_path, other):
    with pytest.raises(UserError, match=r"trained for Other-v0, the graph runs FakePush-v0.*--any-task"):
        evaluate.main([*WORDS, "--checkpoint", str(other), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.ros
def test_any_task_runs_it_alone_and_through_the_graph(tmp_path, other):
    words = [*WORDS, "--checkpoint", str(other), "--any-task"]
    for name, more in (("alone", []), ("graph", ["--through-ros"])):
        assert evaluate.main([*words, *more, "--out", str(tmp_path / name)]) == 0
        [episode] = json.loads((tmp_path / name / "results.json").read_text())["episodes"]
        assert (episode["steps"], episode["crashed"]) == (8, False)


def test_another_robot_stays_refused(tmp_path):
    fr3 = write_tiny_checkpoint(tmp_path / "fr3", tasks=("FakePush-v0",), robot="fr3")
    with pytest.raises(UserError, match="trained on the robot 'fr3'") as refused:
        evaluate.main([*WORDS, "--checkpoint", str(fr3), "--any-task", "--out", str(tmp_path / "out")])
    assert "--any-task" not in str(refused.value)


def test_a_task_without_an_expert_is_refused_before_any_worker_starts(tmp_path, monkeypatch):
    """By eval and by collect; a crash per seed would say it five times."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mute.py").write_text(
        "from physgen_sim_bridge.fake.world import FakeTask\n"
        "MUTE = FakeTask(instruction='wait', success_rule='never', max_steps=4, goal_distance=0.0, has_cube=False)\n"
    )
    sentence = "no scripted expert for the task 'mute.py:MUTE'"
    words = ["--suite", "fake", "--task", "mute.py:MUTE"]
    with pytest.raises(UserError, match=sentence):
        evaluate.main([*words, "--policy", "expert", "--out", str(tmp_path / "out")])
    with pytest.raises(UserError, match=sentence):
        collect.main([*words, "--episodes", "1", "--out", str(tmp_path / "bags")])
    assert not (tmp_path / "bags").exists()
    assert (
        evaluate.main([*words, "--policy", "random", "--episodes", "1", "--out", str(tmp_path / "out")]) == 0
    )
