# SPDX-License-Identifier: Apache-2.0
"""The command line that lerobot's training script gets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from physgen_control.errors import UserError
from physgen_policy.commands.peer_train import main
from physgen_policy.peer.training import TRAIN_CONFIG, PeerTraining


@pytest.fixture
def training(tmp_path: Path) -> PeerTraining:
    meta = tmp_path / "data" / "meta"
    meta.mkdir(parents=True)
    features = {f"observation.images.{name}": {"shape": [128, 128, 3]} for name in ("fixed", "wrist")}
    (meta / "info.json").write_text(json.dumps({"features": features}))
    return PeerTraining(dataset=tmp_path / "data", out=tmp_path / "run")


def words(training: PeerTraining) -> dict[str, str]:
    return dict(option.removeprefix("--").split("=", 1) for option in training.options())


def test_a_chunk_is_as_long_as_ours(training):
    act = words(training)
    assert (act["policy.chunk_size"], act["policy.n_action_steps"]) == ("24", "8")
    assert act["policy.pretrained_backbone_weights"] == "null"
    assert "policy.input_features" not in act
    diffusion = words(replace(training, type="diffusion"))
    assert (diffusion["policy.n_action_steps"], diffusion["policy.crop_shape"]) == ("8", "[115, 115]")
    assert "policy.optimizer_lr" not in diffusion


def test_processes_share_a_batch(training):
    assert words(replace(training, batch_size=32, processes=2))["batch_size"] == "16"
    with pytest.raises(UserError, match="shared equally by 3"):
        replace(training, processes=3)


def test_a_policy_can_be_kept_from_the_state(training):
    features = json.loads(words(replace(training, sees_state=False))["policy.input_features"])
    assert features == {
        f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 128, 128]}
        for name in ("fixed", "wrist")
    }
    with pytest.raises(UserError, match="needs the robot's state"):
        replace(training, type="diffusion", sees_state=False)


def test_bad_input_is_a_sentence(training, tmp_path):
    with pytest.raises(UserError, match="act, diffusion"):
        replace(training, type="pi0")
    with pytest.raises(UserError, match="convert BAGS --format lerobot"):
        replace(training, dataset=tmp_path).options()
    with pytest.raises(UserError, match="drop --resume"):
        training.resume_options()
    config = training.out / TRAIN_CONFIG
    config.parent.mkdir(parents=True)
    config.write_text("{}")
    assert f"--config_path={config}" in training.resume_options()
    with pytest.raises(UserError, match="pass --resume"):
        main([str(training.dataset), "--out", str(training.out)])
    config.unlink()
    with pytest.raises(UserError, match="holds no checkpoint"):
        main([str(training.dataset), "--out", str(training.out)])
