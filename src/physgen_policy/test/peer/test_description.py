# SPDX-License-Identifier: Apache-2.0
"""What of lerobot's folders can be run, and one sentence for what cannot."""

import json

import pytest
from lerobot_folder import CONFIG, IMAGE, write_lerobot_folder

from physgen_control.errors import UserError
from physgen_policy.peer.description import LAST_CHECKPOINT, read_lerobot_description
from physgen_policy.peer.environment import find_lerobot, lerobot_environment


def test_a_run_stands_for_its_newest_policy(tmp_path):
    folder = write_lerobot_folder(tmp_path / "run" / LAST_CHECKPOINT)
    found = read_lerobot_description(tmp_path / "run")
    assert found == read_lerobot_description(folder)
    assert (found.folder, found.type, found.execute_steps, found.num_observations) == (folder, "act", 8, 1)
    assert found.views == {"fixed": (128, 128), "wrist": (128, 128)}
    assert found.sees_state
    assert not found.ensembles


@pytest.mark.parametrize(("steps", "executed"), [(1, 1), (5, 5), (8, 8), (100, 8)])
def test_at_most_a_chunk_is_executed(tmp_path, steps, executed):
    folder = write_lerobot_folder(tmp_path / "p", n_action_steps=steps)
    assert read_lerobot_description(folder).execute_steps == executed


def test_a_policy_may_do_without_the_state(tmp_path):
    inputs = {"observation.images.wrist": {"type": "VISUAL", "shape": [3, 96, 64]}}
    found = read_lerobot_description(write_lerobot_folder(tmp_path / "p", input_features=inputs))
    assert not found.sees_state
    assert found.views == {"wrist": (96, 64)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"type": "smolvla"}, "type 'smolvla'"),
        ({"type": None}, "type 'None'"),
        ({"input_features": CONFIG["input_features"] | {"observation.images.top": IMAGE}}, "images.top"),
        ({"input_features": {"observation.state": {"type": "STATE", "shape": [14]}}}, r"state \(14\)"),
        (
            {"input_features": {"observation.images.fixed": {"type": "VISUAL", "shape": [128, 128, 3]}}},
            "128 x 3",
        ),
        ({"output_features": {"action": {"type": "ACTION", "shape": [14]}}}, r"action \(14\).* 7 numbers"),
        ({"output_features": None}, "output_features"),
        ({"input_features": ["observation.state"]}, "does not describe"),
        ({"n_obs_steps": "many"}, "does not describe"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, sentence):
    folder = write_lerobot_folder(tmp_path / "p", **changes)
    with pytest.raises(UserError, match=sentence):
        read_lerobot_description(folder)


def test_what_is_no_policy_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        read_lerobot_description(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no config\.json"):
        read_lerobot_description(tmp_path / "empty")
    folder = write_lerobot_folder(tmp_path / "p")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin, which only unpickling"):
        read_lerobot_description(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is not readable JSON"):
        read_lerobot_description(folder)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"class": "subprocess.Popen", "config": {"args": "true"}}, "none of lerobot's own"),
        ("normalizer_processor", "none of lerobot's own"),
        ({"registry_name": "normalizer_processor", "state_file": "numbers.pt"}, "only safetensors"),
        (
            {"registry_name": "normalizer_processor", "state_file": "../numbers.safetensors"},
            "only safetensors",
        ),
    ],
)
def test_a_processor_runs_no_foreign_code(tmp_path, step, sentence):
    """lerobot would import and call any class that a step names."""
    folder = write_lerobot_folder(tmp_path / "p")
    (folder / "policy_postprocessor.json").write_text(json.dumps({"steps": [step]}))
    with pytest.raises(UserError, match=sentence):
        read_lerobot_description(folder)


def test_the_package_is_found_where_it_is_said_to_be(tmp_path):
    with pytest.raises(UserError, match=r"PHYSGEN_LEROBOT_PATH=.*holds no package"):
        find_lerobot({"PHYSGEN_LEROBOT_PATH": str(tmp_path)})
    with pytest.raises(UserError, match="setup --peer"):
        find_lerobot({"PHYSGEN_HOME": str(tmp_path)})
    (tmp_path / "lerobot" / "lerobot").mkdir(parents=True)
    assert find_lerobot({"PHYSGEN_HOME": str(tmp_path)}) == str(tmp_path / "lerobot")
    environment = lerobot_environment({"PHYSGEN_HOME": str(tmp_path), "PYTHONPATH": "/ours"})
    assert environment["PYTHONPATH"].split(":")[:2] == [str(tmp_path / "lerobot"), "/ours"]
    assert environment["HF_HUB_OFFLINE"] == "1"
