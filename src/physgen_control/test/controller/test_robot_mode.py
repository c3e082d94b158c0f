# SPDX-License-Identifier: Apache-2.0
"""Which modes of the robot keep it from moving, and in which words."""

import pytest

from physgen_control.controller.robot_mode import mode_obstacle


@pytest.mark.parametrize("mode", [1, 2])
def test_idle_and_move_are_no_obstacle(mode: int) -> None:
    assert mode_obstacle(mode, ["cartesian_reflex"]) == ""


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        (0, "Desk"),
        (3, "guiding"),
        (5, "user stop"),
        (6, "recovers"),
        (7, "unknown mode 7"),
        (-1, "unknown mode -1"),
    ],
)
def test_every_other_mode_is_one_sentence(mode: int, word: str) -> None:
    sentence = mode_obstacle(mode, ["cartesian_reflex"])
    assert word in sentence and sentence.endswith(".") and "reflex" not in sentence


def test_a_reflex_names_its_errors() -> None:
    assert mode_obstacle(4, ["cartesian_reflex", "joint_reflex"]).endswith(
        "(cartesian_reflex, joint_reflex)."
    )
    assert mode_obstacle(4).endswith("(no error named).")
