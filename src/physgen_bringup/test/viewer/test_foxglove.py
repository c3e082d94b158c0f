# SPDX-License-Identifier: Apache-2.0
"""The layout for Foxglove names topics and fields that exist, and every panel that it places is described."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from physgen_bringup.paths import config_file
from physgen_control.bags.typestore import typestore
from physgen_control.messages import topics

LAYOUT = json.loads(config_file("foxglove_layout.json").read_text(encoding="utf-8"))
TYPES = {topic.name: topic.type for topic in topics.recorded_topics(sim=True, predicted=True)}


def texts(value: Any) -> Iterator[str]:
    """Every text in the layout."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def panels(place: Any) -> Iterator[str]:
    """The panels of a part of the window."""
    if isinstance(place, str):
        yield place
    else:
        yield from panels(place["first"])
        yield from panels(place["second"])


PATHS = sorted({text for text in texts(LAYOUT["configById"]) if text.startswith("/")})


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_a_topic_of_a_bag_and_a_field_of_its_message(path):
    topic, *names = path.split(".")
    assert topic in TYPES
    for name in names:
        fields = {field for field, _ in typestore().fielddefs[TYPES[topic]][1]}
        assert re.sub(r"\[\d+\]$", "", name) in fields


def test_every_panel_is_placed_and_described():
    assert sorted(panels(LAYOUT["layout"])) == sorted(LAYOUT["configById"])
