# SPDX-License-Identifier: Apache-2.0
"""Initial values of linear layers."""

from __future__ import annotations

import math

from torch import nn


def initialise_linear(linear: nn.Linear) -> None:
    """Truncated normal with the published 0.02 at width 1024, scaled so that narrow layers keep their gain."""
    nn.init.trunc_normal_(linear.weight, std=0.02 * math.sqrt(1024 / linear.in_features))
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
