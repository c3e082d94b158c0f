# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of model and sampling, built from model_windows.py."""

from collections.abc import Callable
from typing import Any

import pytest
from model_windows import make_windows, mini_config, mini_model

from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.physgen import PhysGen


@pytest.fixture
def config() -> ModelConfig:
    return mini_config()


@pytest.fixture
def model(config: ModelConfig) -> PhysGen:
    return mini_model(config)


@pytest.fixture
def windows(config: ModelConfig) -> WindowBatch:
    return make_windows(config)


@pytest.fixture
def build_model() -> Callable[..., tuple[ModelConfig, PhysGen, WindowBatch]]:
    """Factory: build_model(rope="rope_t") -> (config, model, windows)."""

    def build(**changes: Any) -> tuple[ModelConfig, PhysGen, WindowBatch]:
        config = mini_config(**changes)
        return config, mini_model(config), make_windows(config)

    return build
