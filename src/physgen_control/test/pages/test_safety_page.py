# SPDX-License-Identifier: Apache-2.0
"""docs/safety.md names tests that exist and the limits that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from physgen_control.controller_config import ControllerConfig
from physgen_control.program.parameter_field import field_table

SOURCES = Path(__file__).parents[3]
PAGE = SOURCES.parent / "docs" / "safety.md"


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    files = [*SOURCES.glob("*/test/**/test_*.py")]
    defined = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 20
    assert named <= defined, f"docs/safety.md names tests that do not exist: {sorted(named - defined)}"


def test_the_limits_are_those_of_the_code() -> None:
    """Regenerate with physgen_control.program.parameter_field.field_table(ControllerConfig)."""
    assert field_table(ControllerConfig) in PAGE.read_text(encoding="utf-8")
