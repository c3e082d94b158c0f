# SPDX-License-Identifier: Apache-2.0
"""A depth network is loaded from a folder as transformers saves it, and looks at a picture of any size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from physgen_control.errors import UserError
from physgen_policy.published.depth_model import DepthModel


def write_network(folder: Path, **changes: object) -> Path:
    """Depth Anything V2, tiny and with random weights."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        patch_size=14,
        initializer_range=0.5,
        **changes,
    )
    network = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("head.") and name.endswith("bias"):
                parameter.fill_(1.0)  # its last layers cut off what is below zero
    network.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("metric", "kind"), [("relative", "inverse"), ("metric", "depth")])
def test_it_looks_at_pictures_of_any_size(tmp_path: Path, metric: str, kind: str) -> None:
    folder = write_network(tmp_path / "depth", depth_estimation_type=metric)
    model = DepthModel(folder, short_side=42)
    picture = np.random.default_rng(0).integers(0, 256, (37, 61, 3), dtype=np.uint8)
    seen = model.look(picture)
    assert seen.kind == kind and seen.values.shape == (37, 61) and seen.values.dtype == np.float32
    assert np.array_equal(model.look(picture).values, seen.values)
    assert not np.array_equal(model.look(255 - picture).values, seen.values)


def test_a_folder_without_a_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no depth network"):
        DepthModel(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be loaded"):
        DepthModel(tmp_path)
