# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the model tests, built from model_windows.py."""

import pytest
import torch
from model_windows import make_windows, mini_config, mini_model

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.physgen import PhysGen

torch.set_num_threads(1)


@pytest.fixture
def config() -> ModelConfig:
    return mini_config()


@pytest.fixture
def model(config) -> PhysGen:
    return mini_model(config)


@pytest.fixture
def windows(config) -> WindowBatch:
    return make_windows(config)


@pytest.fixture
def build_model():
    """Factory: build_model(rope="rope_t") -> (config, model, windows)."""

    def build(**changes):
        config = mini_config(**changes)
        return config, mini_model(config), make_windows(config)

    return build
