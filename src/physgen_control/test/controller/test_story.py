# SPDX-License-Identifier: Apache-2.0
"""The controller decides as it did when its stories were written down: each answer, step, trajectory and sentence."""

import pytest
from controller_story import STORIES, differs, path_of, tell


@pytest.mark.parametrize("story", STORIES)
def test_the_story_is_told_as_it_was_written(story):
    written = path_of(story).read_text().splitlines()
    told = tell(story)
    for line, (now, before) in enumerate(zip(told, written, strict=False), start=1):
        assert not differs(now, before), f"{story}, line {line}:\nnow    {now}\nbefore {before}"
    assert len(told) == len(written), f"{story} is told in {len(told)} lines, written are {len(written)}"


@pytest.mark.parametrize("story", STORIES)
def test_a_controller_that_lets_the_arm_move_does_not_say_that_it_holds(story):
    """What held it is over: the status once went on to name it."""
    armed = [line for line in tell(story) if " ARMED <" in line]
    assert armed
    for line in armed:
        assert not any(word in line for word in ("HOLD:", "arm again", "is released", "stop all but one")), (
            line
        )
