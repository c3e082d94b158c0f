# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from evaluations import make_in_process
from running_processes import children
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.commands import evaluate
from physgen_bringup.episode.tally import actions_path
from physgen_bringup.evaluation.run import EvaluationSpec, film_failures, run_in_process
from physgen_bringup.results import results
from physgen_bringup.results.results import Evaluation, ResultsError


def spec_of(tmp_path: Path, **changes: Any) -> EvaluationSpec:
    spec = EvaluationSpec(
        sim="fake",
        task="FakePush-v0",
        policy="expert",
        checkpoint=None,
        episodes=4,
        seed=10,
        max_steps=0,
        out=tmp_path / "out",
        workers=2,
    )
    return replace(spec, **changes)


def run(spec: EvaluationSpec) -> tuple[Evaluation, list[Any]]:
    reported = []
    evaluation = run_in_process(spec, lambda _, result: reported.append(result))
    return evaluation, reported


def test_episodes_have_consecutive_seeds_whatever_worker_ran_them(tmp_path):
    evaluation, reported = run(spec_of(tmp_path))
    assert [episode.seed for episode in evaluation.episodes] == [10, 11, 12, 13]
    assert all(episode.success for episode in evaluation.episodes)
    assert reported[0] is None
    assert len(reported) == 5
    written = results.read(tmp_path / "out" / "results.json")
    assert written.episodes == evaluation.episodes
    assert written.protocol.success_rule
    assert children() == []


def test_the_number_of_workers_does_not_change_an_outcome(tmp_path):
    outcomes = []
    for workers in (1, 2):
        evaluation, _ = run(spec_of(tmp_path, workers=workers, out=tmp_path / str(workers)))
        outcomes.append([(e.seed, e.success, e.steps) for e in evaluation.episodes])
    assert outcomes[0] == outcomes[1]


def test_more_episodes_continue_where_the_last_run_ended(tmp_path):
    run(spec_of(tmp_path, episodes=2))
    evaluation, reported = run(spec_of(tmp_path, episodes=3))
    assert [result.seed for result in reported if result is not None] == [12]
    assert len(evaluation.episodes) == 3


def test_another_protocol_in_the_same_folder_is_refused(tmp_path):
    run(spec_of(tmp_path, episodes=1))
    with pytest.raises(ResultsError, match="policy"):
        run(spec_of(tmp_path, episodes=1, policy="random"))


def test_random_actions_fail_and_keep_their_seeds(tmp_path):
    evaluation, _ = run(spec_of(tmp_path, policy="random", episodes=2, workers=1))
    summary = results.summarize(evaluation.episodes)
    assert summary["failed_seeds"] == [10, 11]
    assert summary["crashes"] == 0
    again, _ = run(spec_of(tmp_path, policy="random", episodes=2, workers=1, out=tmp_path / "again"))
    assert [e.steps for e in again.episodes] == [e.steps for e in evaluation.episodes]


def test_a_killed_evaluation_keeps_its_episodes_and_leaves_no_workers(tmp_path):
    out = tmp_path / "out"
    words = [
        "--sim",
        "fake",
        "--policy",
        "expert",
        "--episodes",
        "200",
        "--workers",
        "2",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "physgen_bringup.commands.evaluate", *words], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (out / "results.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    found = results.read(out / "results.json").episodes
    assert found
    evaluation, reported = run(spec_of(tmp_path, seed=0, episodes=len(found) + 1))
    assert len(evaluation.episodes) >= len(found) + 1
    assert len([r for r in reported if r]) <= 1


def test_the_command_prints_protocol_and_table(tmp_path, capsys):
    words = ["--sim", "fake", "--policy", "expert", "--episodes", "2", "--workers", "1", "--seed", "5"]
    assert evaluate.main([*words, "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    for expected in ("seeds 5 to 6", "step limit", "success rule", "success | 2 of 2", "| 5 | success |"):
        assert expected in text


def test_batched_inference_equals_one_episode_at_a_time(tmp_path):
    """Bit for bit with the same batch size, whoever else asks; up to rounding with a policy per worker."""
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny", tasks=("FakePush-v0",))
    common = {"policy": "physgen", "checkpoint": checkpoint, "max_steps": 20, "save_actions": True}
    together = spec_of(tmp_path, **common, episodes=3, workers=2, batch=2, out=tmp_path / "together")
    alone = replace(together, workers=1, out=tmp_path / "alone")
    apart = replace(together, batch=0, out=tmp_path / "apart")
    outcomes = {}
    for spec in (together, alone):
        evaluation, _ = run(spec)
        outcomes[spec] = [replace(episode, wall_s=0) for episode in evaluation.episodes]
        assert not any(episode.crashed for episode in evaluation.episodes)
        assert evaluation.protocol.batch == 2
    session = make_in_process(apart)
    outcomes[apart] = [replace(session.run_episode(seed)[0], wall_s=0) for seed in (10, 11, 12)]
    session.close()
    assert outcomes[together] == outcomes[alone] == outcomes[apart]
    for seed in (10, 11, 12):
        actions = [np.load(actions_path(spec.out, seed))["applied"] for spec in (together, alone, apart)]
        np.testing.assert_array_equal(actions[0], actions[1])
        np.testing.assert_allclose(actions[0], actions[2], atol=1e-5)


def test_failures_are_filmed_by_running_them_again(tmp_path):
    """The first N failures, each once; a film changes no outcome."""
    spec = spec_of(tmp_path, policy="random", episodes=2, workers=1, max_steps=12)
    evaluation, _ = run(spec)
    [video] = film_failures([spec], [evaluation], 1)
    assert video == tmp_path / "out" / "videos" / "seed_10.mp4"
    written = video.stat().st_mtime_ns
    assert video.stat().st_size > 1000
    assert film_failures([spec], [evaluation], 1) == [video]
    assert video.stat().st_mtime_ns == written
    assert [path.name for path in video.parent.iterdir()] == ["seed_10.mp4"]
