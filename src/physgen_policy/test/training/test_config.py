# SPDX-License-Identifier: Apache-2.0
"""The shipped training configurations."""

from pathlib import Path

import pytest

import physgen_policy
from physgen_policy.training.config import load_config

FOLDER = Path(physgen_policy.__file__).parent / "config" / "train"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_shipped_configuration_is_read(name: str) -> None:
    """Each is a configuration of the trainer; the fine-tune's gets its checkpoint and data on the command line."""
    finetune = name == "finetune_lora.yaml"
    config = load_config(
        FOLDER / name,
        {"dataset": ["d"], "output": "o"} if finetune else None,
        {"init_from": "c"} if finetune else None,
    )
    assert config.policy.steps or config.codec.steps
