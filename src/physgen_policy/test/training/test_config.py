# SPDX-License-Identifier: Apache-2.0
"""The shipped training configurations."""

from pathlib import Path

import pytest

import physgen_policy
from physgen_control.errors import UserError
from physgen_policy.training.config import TrainConfig, load_config

FOLDER = Path(physgen_policy.__file__).parent / "config" / "train"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_shipped_configuration_is_read(name: str) -> None:
    """Each is a configuration of the trainer; those of --finetune get checkpoint and data on the command line."""
    finetune = name in ("finetune_lora.yaml", "frames_only.yaml")
    config = load_config(
        FOLDER / name,
        {"dataset": ["d"], "output": "o"} if finetune else None,
        {"init_from": "c"} if finetune else None,
    )
    assert config.policy.steps or config.codec.steps


GOOD = "name: n\nmodel: tiny\ndataset: d\noutput: o\n"


def read(tmp_path: Path, text: str) -> TrainConfig:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD + text)
    return load_config(path)


def test_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    config = read(tmp_path, "policy: {learning_rate: 3e-4, steps: 0o17}\ncodec: {learning_rate: 1E-2}\n")
    assert (config.policy.learning_rate, config.policy.steps, config.codec.learning_rate) == (3e-4, 15, 1e-2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("precision: fp64", "precision must be one of"),
        ("store_dtype: float8", "store_dtype must be one of"),
        ("validate_every: 0", "`validate_every` must be above 0"),
        ("save_every: 0", "`save_every` must be above 0"),
        ("log_every: -1", "`log_every` must be above 0"),
        ("policy: {learning_rate: .nan}", "policy.learning_rate must be a finite number"),
        ("policy: {learning_rate: -1}", "`policy.learning_rate` must be >= 0"),
        ("policy: {warmup_steps: -5}", "`policy.warmup_steps` must be >= 0"),
        ("policy: {train_text_encoder: 'no'}", "policy.train_text_encoder must be bool"),
        ("policy: {train_text_encoder: no}", "policy.train_text_encoder must be bool"),
        ("policy: {steps: 1.5}", "policy.steps must be int"),
        ("policy: {stepps: 1}", "unknown keys"),
        ("policy: {steps: 1, steps: 2}", "not valid YAML"),
        ("policy: {aligned_fraction: 1.5}", r"`policy.aligned_fraction` must be in \[0, 1\]"),
        ("codec: {batch_size: 0}", "`codec.batch_size` must be above 0"),
        ("validation_share: 1", r"`validation_share` must be in \[0, 0.9\]"),
    ],
)
def test_what_cannot_be_is_a_sentence_with_its_key(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        read(tmp_path, text + "\n")
