# SPDX-License-Identifier: Apache-2.0
"""What was expected against what was seen: the number, and when a policy has one."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_episode import EPISODE, observations
from tiny_checkpoint import VIEW, write_tiny_checkpoint

from physgen_policy.checkpoint import Checkpoint, load_checkpoint
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.prediction_error import BLOCK, compare_views, prediction_error

VIEWS = hnp.arrays(np.uint8, (2, 24, 40, 3))


@given(VIEWS)
def test_an_error_is_a_distance_in_levels(views: np.ndarray) -> None:
    """Nothing is nearer than equal, and order does not matter."""
    a, b = views
    error, back, equal = prediction_error(a, b), prediction_error(b, a), prediction_error(a, a)
    assert error == back
    assert equal.mean == equal.worst == 0.0
    assert 0.0 <= error.mean <= 255.0 and 0.0 <= error.worst <= 255.0


@given(hnp.arrays(np.uint8, (24, 40, 1)), hnp.arrays(np.uint8, (24, 40, 1)))
def test_brightness_alone_is_no_colour(one: np.ndarray, other: np.ndarray) -> None:
    """What a grey arm and its shadow get wrong is in the mean only."""
    grey = [np.repeat(view, 3, axis=-1) for view in (one, other)]
    assert prediction_error(*grey).worst == pytest.approx(0.0, abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_thing_elsewhere_is_a_worst_colour_and_a_lamp_is_a_mean(row: int, column: int) -> None:
    empty = np.full((128, 128, 3), 120, np.uint8)
    thing = empty.copy()
    thing[row * BLOCK : (row + 2) * BLOCK, column * BLOCK : (column + 2) * BLOCK] = (20, 20, 220)
    error = prediction_error(empty, thing)
    assert error.worst > 50.0 and error.mean < 1.0
    lamp = prediction_error(empty, empty - np.uint8(30))
    assert lamp.mean == pytest.approx(30.0) and lamp.worst == pytest.approx(0.0)


def test_views_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        prediction_error(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 24, 3), np.uint8))
    with pytest.raises(ValueError, match="4 pixels at least"):
        prediction_error(np.zeros((3, 16, 3), np.uint8), np.zeros((3, 16, 3), np.uint8))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.set_num_threads(1)
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"))


def test_a_policy_compares_each_picture_with_the_frame_that_was_imagined_for_it(
    checkpoint: Checkpoint,
) -> None:
    policy = PhysGenPolicy(checkpoint)
    policy.reset(EPISODE)
    expected = None
    for number, observation in enumerate(islice(observations(3), 3)):
        policy.act(observation, 0)
        shown = policy.predict_frame()
        if number == 0:
            assert policy.prediction_errors == ()
        else:
            assert expected is not None
            seen = np.concatenate([observation.frames["fixed"].rgb, observation.frames["wrist"].rgb], axis=1)
            assert seen.shape == (VIEW, 2 * VIEW, 3)
            assert policy.prediction_errors == compare_views(expected, seen)
        expected = shown
    policy.reset(EPISODE)
    assert policy.prediction_errors == ()


def test_no_error_where_nothing_was_expected_or_something_else_was_done(checkpoint: Checkpoint) -> None:
    """A frame that nobody imagined, and a chunk that was cut short: the picture is another instant's."""
    policy = PhysGenPolicy(checkpoint)
    policy.reset(EPISODE)
    first, second, third = observations(3)
    policy.act(first, 0)
    policy.predict_frame()
    policy.act(second, 0)  # nobody looks here
    policy.act(third, 0)
    policy.predict_frame()
    assert policy.prediction_errors == ()
    policy.reset(EPISODE)
    for observation in observations(2, executed=5):
        policy.act(observation, 0)
        policy.predict_frame()
    assert policy.prediction_errors == ()
