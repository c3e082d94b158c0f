# SPDX-License-Identifier: Apache-2.0
"""docs/interfaces.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from physgen_control.messages.topics import recorded_topics
from physgen_control.program.parameter_field import field_table

PAGE = Path(__file__).parents[4] / "docs" / "interfaces.md"


def test_every_recorded_topic_is_on_the_page_with_its_type() -> None:
    rows = {
        cells[1].strip(" `"): (cells[2].strip(), cells[3])
        for cells in (line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines())
        if len(cells) == 10
    }
    for topic in recorded_topics():
        message_type, profile = rows[topic.name]
        assert message_type == topic.type
        assert topic.latched == ("LATCHED" in profile)


def test_the_parameter_tables_are_those_of_the_code() -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from physgen_control.monitor.config import MotionMonitorConfig
    from physgen_control.nodes.recorder_node import RecorderNodeConfig
    from physgen_control.nodes.replay_node import ReplayConfig

    text = PAGE.read_text(encoding="utf-8")
    for config in (MotionMonitorConfig, RecorderNodeConfig, ReplayConfig):
        assert field_table(config) in text
