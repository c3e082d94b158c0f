# SPDX-License-Identifier: Apache-2.0
"""A folder with the files of a policy that lerobot saved, without weights that mean anything; for tests of refusals."""

import json
from pathlib import Path
from typing import Any

IMAGE = {"type": "VISUAL", "shape": [3, 128, 128]}
CONFIG: dict[str, Any] = {
    "type": "act",
    "n_obs_steps": 1,
    "chunk_size": 24,
    "n_action_steps": 8,
    "temporal_ensemble_coeff": None,
    "input_features": {
        "observation.images.fixed": IMAGE,
        "observation.images.wrist": IMAGE,
        "observation.state": {"type": "STATE", "shape": [15]},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [7]}},
}


def write_lerobot_folder(folder: Path, **changes: Any) -> Path:
    """Write the files; a change of None leaves the entry out."""
    folder.mkdir(parents=True)
    config = {name: value for name, value in (CONFIG | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    step = {"registry_name": "normalizer_processor", "config": {}, "state_file": "numbers.safetensors"}
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        (folder / name).write_text(json.dumps({"name": name, "steps": [step]}))
    return folder
