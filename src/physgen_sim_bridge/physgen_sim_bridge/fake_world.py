# SPDX-License-Identifier: Apache-2.0
"""A pure NumPy arm and cube with drawn images: placeholder until the world itself is in."""

from __future__ import annotations

from typing import Any

FAKE_TASKS: dict[str, Any] = {}


class FakeWorld:
    """See the World protocol."""

    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        raise NotImplementedError
