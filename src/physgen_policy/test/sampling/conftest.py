# SPDX-License-Identifier: Apache-2.0
from model_fixtures import build_model, config, model, windows  # noqa: F401  (fixtures)
