# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is what was saved, bit for bit, or one sentence that says why it cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_windows import mini_config
from safetensors.torch import load_file, save_file

from physgen_policy.checkpoint import CheckpointError, load_checkpoint, resolve_checkpoint, save_checkpoint
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import build_text_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = mini_config()
    return save_checkpoint(
        tmp_path_factory.mktemp("checkpoint") / "mini",
        model=PhysGen(config),
        codec=build_frame_codec(config),
        text_encoder=build_text_encoder(config),
        config=config,
        norm=NormStats.fit(np.random.default_rng(0).normal(0, 0.02, (50, 7)).astype(np.float32)),
        embodiment=Embodiment(robot="panda", tasks=("FakePush-v0",)),
    )


def damaged(folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    loaded = load_checkpoint(folder)
    for prefix, module in (
        ("model", loaded.model),
        ("codec", loaded.codec),
        ("text_encoder", loaded.text_encoder),
    ):
        for key, value in module.state_dict().items():
            assert torch.equal(value, stored[f"{prefix}.{key}"]), key
    assert loaded.embodiment.tasks == ("FakePush-v0",)
    assert not any(p.requires_grad for p in loaded.model.parameters())


@pytest.mark.parametrize("damage", ["missing", "renamed", "shape"])
def test_a_tensor_that_does_not_fit_is_named(folder: Path, tmp_path: Path, damage: str) -> None:
    copy = damaged(folder, tmp_path)
    tensors = load_file(copy / "model.safetensors")
    key = "model.nova.video_encoder.norm.weight"
    value = tensors.pop(key)
    if damage == "renamed":
        tensors[key + "x"] = value
    if damage == "shape":
        tensors[key] = value[:-1].clone()
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"nova\.video_encoder\.norm\.weight"):
        load_checkpoint(copy)


def test_pickles_and_absent_folders_are_refused_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    for name in ("policy.pt", "policy.ckpt", "model.bin"):
        with pytest.raises(CheckpointError, match="pickle"):
            resolve_checkpoint(str(tmp_path / name), "FakePush-v0")
    with pytest.raises(CheckpointError, match="no checkpoint folder or shipped checkpoint called 'nowhere'"):
        resolve_checkpoint("nowhere", "FakePush-v0")
    with pytest.raises(CheckpointError, match="shipped for task 'NoTask'"):
        resolve_checkpoint("", "NoTask")
    (tmp_path / "torch.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="missing; it holds pickle files"):
        resolve_checkpoint(str(tmp_path), "FakePush-v0")
    assert resolve_checkpoint(str(folder), "FakePush-v0") == folder


def test_unknown_format_and_unknown_keys_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = damaged(folder, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    config["model"]["surprise"] = 1
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="surprise"):
        load_checkpoint(copy)
    (copy / "format_version").write_text("99\n")
    with pytest.raises(CheckpointError, match="format '99'"):
        load_checkpoint(copy)
