# SPDX-License-Identifier: Apache-2.0
"""A checkpoint runs only where it fits; every reason is a sentence."""

from typing import Any

import pytest

from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.embodiment_check import GraphDescription, find_mismatches

GRAPH = GraphDescription(
    control_period=0.05, task="PushCube-v1", robot="panda", image_height=128, image_width=128
)


def embodiment(**changes: Any) -> Embodiment:
    return Embodiment(**({"robot": "panda", "tasks": ("PushCube-v1",)} | changes))


def test_matching_graph_has_no_complaints() -> None:
    """Unknown parts of the graph are not compared; a checkpoint without a task list runs any task."""
    assert find_mismatches(embodiment(), GRAPH) == []
    [sentence] = find_mismatches(embodiment(tasks=()), GRAPH)
    assert "does not say for which tasks" in sentence
    assert find_mismatches(embodiment(image_height=480), GraphDescription(control_period=0.05)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cameras": ("fixed", "wrist", "left")}, ["camera", "left"]),
        ({"cameras": ("wrist", "fixed")}, ["splices", "wrist, fixed"]),
        ({"action_space": "JOINT_ABSOLUTE"}, ["action space", "JOINT_ABSOLUTE", "EE_DELTA"]),
        ({"rotation": "RPY"}, ["rotation", "RPY"]),
        ({"delta_reference": "COMMANDED"}, ["delta reference", "COMMANDED"]),
        ({"gripper_mode": "WIDTH_M"}, ["gripper", "WIDTH_M"]),
        ({"control_rate_hz": 10.0}, ["10 Hz", "20 Hz"]),
        ({"horizon": 16}, ["3 x 16", "3 x 8"]),
        ({"robot": "fr3"}, ["fr3", "panda"]),
        ({"base_frame": "world"}, ["world", "base"]),
        ({"tasks": ("StackCube-v1", "PickCube-v1")}, ["StackCube-v1, PickCube-v1", "PushCube-v1"]),
        ({"image_height": 256}, ["128x128", "128x256"]),
    ],
)
def test_each_difference_gives_one_sentence(changes: dict[str, Any], words: list[str]) -> None:
    """The sentence names both sides."""
    found = find_mismatches(embodiment(**changes), GRAPH)
    assert len(found) == 1
    for word in words:
        assert word in found[0]


def test_action_width_is_compared() -> None:
    """The statistics decide how many numbers an action has."""
    assert "8 numbers" in find_mismatches(embodiment(), GRAPH, action_dim=8)[0]
