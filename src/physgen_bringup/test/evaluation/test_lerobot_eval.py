# SPDX-License-Identifier: Apache-2.0
"""Demonstrations to a policy of lerobot to a result in the same harness; needs the lerobot package."""

import os

import pytest

from physgen_bringup.commands import collect, evaluate
from physgen_bringup.results import results
from physgen_control.errors import UserError
from physgen_policy.commands.convert import main as convert
from physgen_policy.commands.peer_train import main as peer_train
from physgen_policy.peer.environment import find_lerobot

pytest.importorskip("pyarrow", reason="pyarrow is not installed (requirements/lerobot.lock)")

# A network that is trained in no time.
SMALL = ["dim_model=32", "n_heads=2", "dim_feedforward=64", "n_encoder_layers=1", "n_vae_encoder_layers=1"]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # four processes that import lerobot, ten seconds of a core each
def test_a_peer_learns_from_the_same_demonstrations_and_is_evaluated(tmp_path, capsys, monkeypatch):
    try:
        find_lerobot(os.environ)
    except UserError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    bags, data, run = (tmp_path / name for name in ("bags", "data", "run"))
    words = ["--sim", "fake", "--task", "FakePush-v0", "--episodes", "2", "--workers", "1"]
    assert collect.main([*words, "--out", str(bags)]) == 0
    assert convert([str(bags), "--format", "lerobot", "--image-size", "32", "--out", str(data)]) == 0
    train = [str(data), "--out", str(run), "--batch-size", "4", "--device", "cpu", "--threads", "1"]
    assert peer_train([*train, "--steps", "3", "--", *(f"--policy.{word}" for word in SMALL)]) == 0
    with pytest.raises(UserError, match="pass --resume"):
        peer_train([*train, "--steps", "4"])
    assert peer_train([*train, "--steps", "4", "--resume"]) == 0
    assert (run / "checkpoints" / "last").resolve().name == "000004"
    out = tmp_path / "out"
    words = ["--sim", "fake", "--policy", "lerobot", "--checkpoint", str(run), "--max-steps", "20"]
    assert evaluate.main([*words, "--episodes", "2", "--workers", "1", "--out", str(out)]) == 0
    found = results.read(out / "results.json")
    assert [(e.crashed, 0 < e.steps <= 20) for e in found.episodes] == [(False, True)] * 2
    assert found.protocol.policy == "lerobot"
    assert len(found.protocol.checkpoint_sha256) == 64
    assert "policy lerobot" in capsys.readouterr().out
