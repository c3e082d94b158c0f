# SPDX-License-Identifier: Apache-2.0
"""Published folder layout: bit-identical round trips, shards, and refusals that name the key."""

import json
from pathlib import Path

import pytest
import torch
from published_folder import save_nova_folder
from safetensors.torch import save_file

from physgen_policy.model.config import NovaConfig, load_preset
from physgen_policy.model.nova import Nova
from physgen_policy.published.nova_folder import (
    SINGLE,
    NovaFolderError,
    load_nova_folder,
)

KEY = "video_encoder.blocks.0.attn.qkv.weight"


@pytest.fixture(scope="module")
def config() -> NovaConfig:
    return load_preset("tiny").nova


def state(config: NovaConfig, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {key: value.to(dtype) for key, value in Nova(config).state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sharded", [False, True])
def test_round_trip_is_bit_identical(
    tmp_path: Path, config: NovaConfig, dtype: torch.dtype, sharded: bool
) -> None:
    tensors = state(config, dtype)
    save_nova_folder(tmp_path, tensors, config)
    if sharded:
        (tmp_path / "transformer" / SINGLE).unlink()
        keys = sorted(tensors)
        parts = {"a.safetensors": keys[::2], "b.safetensors": keys[1::2]}
        for name, part in parts.items():
            save_file({key: tensors[key].contiguous() for key in part}, tmp_path / "transformer" / name)
        weight_map = {key: name for name, part in parts.items() for key in part}
        (tmp_path / "transformer" / f"{SINGLE}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    loaded = load_nova_folder(tmp_path, config)
    assert loaded.keys() == tensors.keys()
    for key, value in tensors.items():
        assert loaded[key].dtype == dtype
        assert torch.equal(loaded[key].view(torch.int16), value.view(torch.int16)), key


@pytest.mark.parametrize("fault", ["missing", "renamed", "shape"])
def test_wrong_tensor_is_refused_by_name(tmp_path: Path, config: NovaConfig, fault: str) -> None:
    tensors = state(config, torch.float16)
    save_nova_folder(tmp_path, tensors, config)
    tensor = tensors.pop(KEY)
    if fault == "renamed":
        tensors[KEY + "_x"] = tensor
    elif fault == "shape":
        tensors[KEY] = tensor[:-1]
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "transformer" / SINGLE)
    with pytest.raises(NovaFolderError, match=KEY.replace(".", r"\.")):
        load_nova_folder(tmp_path, config)


def test_folder_without_index_is_refused(tmp_path: Path, config: NovaConfig) -> None:
    with pytest.raises(NovaFolderError, match=r"model_index\.json"):
        load_nova_folder(tmp_path, config)
