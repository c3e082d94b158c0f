# SPDX-License-Identifier: Apache-2.0
"""Make small random policies with lerobot, save them, and note what lerobot's own loop does with them.

usage: lerobot_reference.py OUT TYPE ...        (in a process that has the lerobot package)

OUT/TYPE is the saved policy; OUT/TYPE.npz holds what it saw at STEPS successive control steps (fixed, wrist: uint8
[t, y, x, 3]; state: float32 [t, 15]) and the actions of `select_action`, float32 [t, 7].
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physgen_policy.peer.imports import prepare

STEPS = 16
SIDE = 32
SEED = 5
TASK = "push the cube"


def main(out: str, *types: str) -> None:
    """Write the folders and files."""
    prepare()
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

    torch.manual_seed(0)
    inputs = {
        f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE))
        for name in ("fixed", "wrist")
    } | {"observation.state": PolicyFeature(FeatureType.STATE, (15,))}
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (7,))}
    small: dict[str, dict[str, Any]] = {
        "act": {
            "chunk_size": 24,
            "dim_model": 32,
            "n_heads": 2,
            "dim_feedforward": 64,
            "n_encoder_layers": 1,
            "n_vae_encoder_layers": 1,
            "pretrained_backbone_weights": None,
        },
        "diffusion": {"down_dims": (32, 64), "noise_scheduler_type": "DDIM", "num_inference_steps": 2},
    }
    small["ensemble"] = small["act"] | {"temporal_ensemble_coeff": 0.01, "n_action_steps": 1}
    for name in types:
        kind = "act" if name == "ensemble" else name
        options = {"n_action_steps": 8} | small[name]
        config = make_policy_config(
            kind, input_features=inputs, output_features=outputs, device="cpu", **options
        )
        policy = get_policy_class(kind)(config)
        stats = {
            key: {
                "mean": torch.full(shape, 0.1),
                "std": torch.full(shape, 0.5),
                "min": torch.full(shape, -1.0),
                "max": torch.full(shape, 2.0),
            }
            for key, shape in (
                *((key, (3, 1, 1)) for key in inputs if "images" in key),
                ("observation.state", (15,)),
                ("action", (7,)),
            )
        }
        before, after = make_pre_post_processors(config, dataset_stats=stats)
        folder = Path(out) / name
        for part in (policy, before, after):
            part.save_pretrained(folder)
        seen = observations()
        torch.manual_seed(SEED)
        policy.eval()
        policy.reset()
        actions = []
        for step in range(STEPS):
            row = {"task": TASK, "observation.state": torch.from_numpy(seen["state"][step])}
            for camera in ("fixed", "wrist"):
                view = torch.from_numpy(seen[camera][step]).permute(2, 0, 1)
                row[f"observation.images.{camera}"] = view.float() / 255
            with torch.no_grad():
                actions.append(after(policy.select_action(before(row)))[0].numpy())
        arrays: dict[str, Any] = {"actions": np.stack(actions), **seen}
        np.savez(folder.with_suffix(".npz"), **arrays)


def observations() -> dict[str, np.ndarray]:
    """Random views and states."""
    rng = np.random.default_rng(0)
    views = {
        name: rng.integers(0, 256, (STEPS, SIDE, SIDE, 3)).astype(np.uint8) for name in ("fixed", "wrist")
    }
    return views | {"state": rng.normal(size=(STEPS, 15)).astype(np.float32)}


if __name__ == "__main__":
    main(*sys.argv[1:])
