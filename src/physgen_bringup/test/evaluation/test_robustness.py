# SPDX-License-Identifier: Apache-2.0
"""A whole evaluation under perturbations, with the fake world, and its table."""

import json
from typing import Any

import pytest
from evaluations import evaluation_of

from physgen_bringup.commands import evaluate
from physgen_bringup.evaluation.robustness import Cell, table_json, table_markdown
from physgen_bringup.results import results
from physgen_control.errors import UserError
from physgen_sim_bridge.perturbation.condition import CLEAN, Condition
from physgen_sim_bridge.perturbation.frozen_list import SHA256

WORDS = ["--suite", "fake", "--policy", "expert", "--workers", "1", "--max-steps", "30"]


def test_a_whole_evaluation_is_paired_counted_and_resumed(tmp_path, capsys):
    """Every condition has the clean one's trials; more episodes later go on in the same folder."""
    out = tmp_path / "out"
    words = [*WORDS, "--perturb", "noise,language,frozen_picture", "--level", "1,3", "--out", str(out)]
    assert evaluate.main([*words, "--episodes", "1"]) == 0
    first = (out / "noise_3" / "results.json").read_text()
    assert evaluate.main([*words, "--episodes", "2"]) == 0
    values = json.loads((out / "results.json").read_text())
    assert [(row["category"], row["level"]) for row in values["rows"]] == [
        ("clean", 0),
        ("noise", 1),
        ("noise", 3),
        ("language", 1),
        ("language", 3),
        ("frozen_picture", 0),
    ]
    assert values["perturbation_list"] == SHA256
    for row in values["rows"]:
        evaluation = results.read(out / row["folder"] / "results.json")
        assert [episode.seed for episode in evaluation.episodes] == [0, 1]
        assert row["n"] == 2 and row["successes"] == sum(e.success for e in evaluation.episodes)
        # The expert looks at no picture and reads no word: its episodes are the clean ones.
        clean = results.read(out / "clean" / "results.json").episodes
        assert [(e.success, e.steps) for e in evaluation.episodes] == [(e.success, e.steps) for e in clean]
    noisy = results.read(out / "noise_3" / "results.json")
    assert noisy.protocol.perturbation == "noise:3" and noisy.protocol.perturbation_list == SHA256
    assert noisy.episodes[0].wall_s == json.loads(first)["episodes"][0]["wall_s"]
    assert values["categories"]["noise"] == {"successes": values["rows"][1]["successes"] * 2, "n": 4}
    text = capsys.readouterr().out
    assert "not comparable with the 10,030-task leaderboard" in text and SHA256[:12] in text
    assert evaluate.main(["compare", str(out / "clean"), str(out / "noise_3")]) == 0


def test_a_result_of_another_list_is_not_continued(tmp_path):
    out = tmp_path / "out"
    words = [*WORDS, "--perturb", "noise", "--level", "2", "--episodes", "1", "--out", str(out)]
    assert evaluate.main(words) == 0
    path = out / "noise_2" / "results.json"
    path.write_text(path.read_text().replace(SHA256, "0" * 64))
    with pytest.raises(UserError, match="perturbation_list"):
        evaluate.main(words)


def cells(**outcomes: list[bool]) -> list[Cell]:
    conditions = {"clean": CLEAN, "camera": Condition("camera", 3), "frozen": Condition("frozen_picture")}
    return [Cell("FakePush-v0", conditions[name], evaluation_of(won)) for name, won in outcomes.items()]


def test_the_table_holds_numerators_denominators_and_the_paired_difference(tmp_path):
    some = cells(
        clean=[True, True, True, False],
        camera=[True, False, False, True],
        frozen=[False, False, False, False],
    )
    values = table_json(some, tmp_path, [tmp_path / str(i) for i in range(3)])
    camera: dict[str, Any] = values["rows"][1]
    assert (camera["successes"], camera["n"]) == (2, 4)
    assert (camera["paired"]["lost"], camera["paired"]["gained"]) == (2, 1)
    assert camera["paired"]["difference"] == -0.25
    assert values["categories"]["clean"] == {"successes": 3, "n": 4}
    assert "paired" not in values["rows"][0]
    table = table_markdown(values)
    assert "| FakePush-v0 | camera | 3 | 2 of 4 | 50.0 % |" in table and "| 2 / 1 |" in table


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--level", "3"], "--perturb"),
        (["--perturb", "zoom"], "choose of camera"),
        (["--perturb", "camera", "--level", "7"], "--level"),
        (["--perturb", "camera", "--shard", "1/2"], "--shard"),
        (["--perturb", "camera", "--task", "Franka*"], "clock of its own|no task"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tmp_path, words, what):
    with pytest.raises(UserError, match=what):
        evaluate.main([*WORDS, *words, "--episodes", "1", "--out", str(tmp_path / "out")])


def test_a_world_that_cannot_change_its_camera_crashes_no_episode_silently(tmp_path, capsys):
    """The sentence of the world is the crash of every episode, so that no number comes out of it."""
    out = tmp_path / "out"
    words = [*WORDS, "--perturb", "camera", "--episodes", "1", "--out", str(out)]
    assert evaluate.main(words) == 1
    [episode] = results.read(out / "camera_3" / "results.json").episodes
    assert episode.crashed and "cannot change its camera" in episode.error
    assert "0 of 0, 1 crashed" in capsys.readouterr().out
