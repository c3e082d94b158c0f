# SPDX-License-Identifier: Apache-2.0
"""The reference pages say what the code says."""

import pytest

from physgen_checks import reference

pytest.importorskip("rclpy", reason="parameters of nodes are read from the nodes' modules")


def test_reference_pages_are_those_that_the_code_writes() -> None:
    for path, text in reference.pages().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path} is old; run tools/physgen_checks/reference.py"
        )


def test_every_option_of_training_has_a_text() -> None:
    rows = [line.split(" | ") for line in reference.training_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []
