# SPDX-License-Identifier: Apache-2.0
"""Which tasks and trials an evaluation runs, in parts and as a whole."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_bringup.commands import evaluate
from physgen_bringup.commands.evaluation_options import without_options
from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.evaluation.presets import PRESETS, find_preset, header
from physgen_bringup.evaluation.ray_shards import read_files, run_shard, write_files
from physgen_bringup.evaluation.selection import select_tasks
from physgen_bringup.evaluation.shards import merge_shards, parse_shard, shard_folder
from physgen_bringup.results import results
from physgen_bringup.results.results import EpisodeResult, Evaluation, Trial
from physgen_control.errors import UserError

SPEC = EvaluationSpec(
    sim="fake",
    task="FakePush-v0",
    policy="expert",
    checkpoint=None,
    episodes=4,
    seed=10,
    max_steps=0,
    out=Path("out"),
    workers=1,
)


def episode(trial: Trial, success: bool = True) -> EpisodeResult:
    return EpisodeResult(
        **trial._asdict(),
        success=success,
        steps=5,
        crashed=False,
        error="",
        wall_s=0.1,
        stale_steps=0,
        limited_steps=0,
    )


def write_shard(out: Path, spec: EvaluationSpec, shard: tuple[int, int]) -> Evaluation:
    part = replace(spec, shard=shard)
    evaluation = Evaluation(part.protocol(), environment={})
    for trial in part.trials:
        evaluation.add(episode(trial, success=trial.seed % 3 > 0))
        evaluation.latencies.observation_to_chunk.append(float(trial.seed))
    evaluation.write(shard_folder(out, shard))
    return evaluation


def test_tasks_are_chosen_by_name_and_pattern():
    assert select_tasks("maniskill", "") == ("maniskill", ["PushCube-v1"])
    assert select_tasks("maniskill", "P*") == ("maniskill", ["PushCube-v1", "PickCube-v1"])
    assert select_tasks("maniskill", "all")[1] == ["PushCube-v1", "PickCube-v1", "StackCube-v1"]
    assert select_tasks("maniskill", "StackCube-v1,PushCube-v1")[1] == ["PushCube-v1", "StackCube-v1"]
    assert select_tasks("fake", "*")[1] == ["FakePush-v0", "FakeReach-v0"]
    for suite, patterns, words in (("mars", "", "choose one of"), ("fake", "Nothing*", "FakeReach-v0")):
        with pytest.raises(UserError, match=words):
            select_tasks(suite, patterns)


def test_trials_of_runs_and_of_initial_states():
    twice = replace(SPEC, episodes=2, runs=2)
    assert twice.trials == [Trial(10), Trial(11), Trial(10, run=1), Trial(11, run=1)]
    assert replace(SPEC, episodes=2, init_states=True).trials == [Trial(10, 0), Trial(10, 1)]


@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 9))
def test_shards_are_a_partition(episodes, runs, count):
    whole = replace(SPEC, episodes=episodes, runs=runs)
    parts = [replace(whole, shard=(i, count)).trials for i in range(1, count + 1)]
    assert sorted(trial for part in parts for trial in part) == sorted(whole.trials)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_merged_shards_equal_the_whole(tmp_path):
    whole = write_shard(tmp_path / "whole", SPEC, (1, 1))
    for i in (1, 2, 3):
        write_shard(tmp_path / "parts", SPEC, (i, 3))
    [merged] = merge_shards([tmp_path / "parts"], tmp_path / "merged")
    assert merged.episodes == whole.episodes
    assert sorted(merged.latencies.observation_to_chunk) == whole.latencies.observation_to_chunk
    assert results.read(tmp_path / "merged" / "results.json").protocol == whole.protocol


def test_what_is_not_a_set_of_shards_is_refused(tmp_path):
    write_shard(tmp_path / "a", SPEC, (1, 2))
    write_shard(tmp_path / "b", SPEC, (1, 1))
    with pytest.raises(UserError, match="seed 10 was run by"):
        merge_shards([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    write_shard(tmp_path / "c", replace(SPEC, max_steps=7), (2, 2))
    with pytest.raises(UserError, match="max_steps"):
        merge_shards([tmp_path / "a", tmp_path / "c"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no results"):
        merge_shards([tmp_path / "empty"], tmp_path / "out")
    for text in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(UserError, match="--shard"):
            parse_shard(text)


def test_several_tasks_have_a_folder_each_and_a_table_together(tmp_path, capsys):
    words = ["--sim", "fake", "--task", "all", "--policy", "expert", "--episodes", "2", "--workers", "1"]
    assert evaluate.main([*words, "--out", str(tmp_path)]) == 0
    values = json.loads((tmp_path / "results.json").read_text())
    assert [row["task"] for row in values["tasks"]] == ["FakePush-v0", "FakeReach-v0"]
    assert values["summary"]["n"] == 4
    for row in values["tasks"]:
        assert results.read(tmp_path / row["folder"] / "results.json").protocol.task == row["task"]
    text = capsys.readouterr().out
    assert "| **all** | 4 of 4 | 100.0 % |" in text
    assert evaluate.main([*words, "--out", str(tmp_path)]) == 0
    assert "2 finished episodes were found and are kept" in capsys.readouterr().out


def test_a_shard_runs_anywhere_and_continues(tmp_path):
    """What a cluster node does: files in, files out; finished episodes are not run again."""
    words = ["--sim", "fake", "--policy", "expert", "--episodes", "4", "--workers", "1"]
    spec = replace(SPEC, seed=0)
    evaluation = Evaluation(spec.protocol())
    evaluation.add(episode(Trial(1)))
    evaluation.write(tmp_path)
    files = run_shard(words, (2, 2), read_files(tmp_path))
    assert set(files) == {"results.json"}
    write_files(tmp_path / "back", files)
    kept, fresh = results.read(tmp_path / "back" / "results.json").episodes
    assert kept == episode(Trial(1))
    assert fresh.seed == 3
    assert fresh.success
    assert fresh.steps != kept.steps


def test_a_shard_that_cannot_run_says_why():
    with pytest.raises(RuntimeError, match="shard 1 of 1 failed: physgen eval: there is no suite 'mars'"):
        run_shard(["--sim", "mars"], (1, 1), {})


def test_ray_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match="needs the package ray"):
        evaluate.main(["--sim", "fake", "--policy", "expert", "--ray", "--out", str(tmp_path)])


def test_ray_gives_the_same_result_as_one_process(tmp_path):
    pytest.importorskip("ray")
    words = ["--sim", "fake", "--policy", "expert", "--episodes", "3", "--workers", "1"]
    assert evaluate.main([*words, "--ray", "--shards", "2", "--out", str(tmp_path / "ray")]) == 0
    assert evaluate.main([*words, "--out", str(tmp_path / "one")]) == 0
    ours, theirs = (results.read(tmp_path / name / "results.json").episodes for name in ("ray", "one"))
    assert [replace(e, wall_s=0) for e in ours] == [replace(e, wall_s=0) for e in theirs]


def test_options_for_the_cluster_do_not_reach_the_nodes():
    words = ["--ray", "--out", "x", "--task", "T", "--shards=3", "--ray", "auto", "--episodes", "5"]
    assert without_options(words, "--out", "--ray", "--shards") == ["--task", "T", "--episodes", "5"]


def test_protocols_print_what_they_fix_and_where_we_depart():
    rdt = find_preset("rdt", "")
    assert (rdt.episodes * rdt.runs, rdt.seed, rdt.step_limit("PushCube-v1")) == (250, 20241201, 400)
    assert find_preset("physgen", "maniskill").episodes == 125
    openvla, lerobot = find_preset("openvla", "libero_spatial"), find_preset("lerobot", "libero_10")
    limits = [openvla.step_limit(f"libero_{name}/0") for name in ("spatial", "object", "goal", "10", "90")]
    assert limits == [220, 280, 300, 520, 400]
    assert lerobot.step_limit("libero_spatial/0") == 280
    text = header(replace(SPEC, preset="rdt", runs=10), rdt)
    for words in ("seeds 10 to 13, 10 runs", "protocol      rdt", "20241201", "departs"):
        assert words in text
    with pytest.raises(UserError, match="one of maniskill"):
        find_preset("rdt", "libero_object")
    with pytest.raises(UserError, match="choose one of physgen"):
        find_preset("other", "")
    assert all(preset.rules for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--execution", "pipelined"], "--pace realtime"),
        (["--execution", "fast"], "sync, pipelined"),
        (["--execution", "sync,pipelined", "--pace", "realtime"], "only with --delays"),
        (["--pace", "realtime", "--execution", "pipelined"], "is for --policy physgen"),
        (["--through-ros", "--runs", "2"], "--runs works in-process only"),
        (["--through-ros", "--failure-videos", "2"], "--failure-videos works in-process only"),
        (["--batch", "2"], "--policy physgen"),
        (["--shard", "1/2", "--ray"], "drop --shard"),
        (["--delays", "50", "--task", "all"], "one task"),
        (["--delays", "50", "--shard", "1/2"], "one machine"),
        (["--failure-videos", "1", "--ray"], "whole evaluation"),
        (["--task", "FrankaPick-v0", "--pace", "realtime"], "--through-ros"),
        (["--episodes", "0"], "at least 1"),
    ],
)
def test_impossible_wishes_are_one_sentence(words, sentence, tmp_path):
    with pytest.raises(UserError) as caught:
        evaluate.main(["--sim", "fake", "--policy", "expert", *words, "--out", str(tmp_path)])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
