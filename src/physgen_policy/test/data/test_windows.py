# SPDX-License-Identifier: Apache-2.0
"""Windows line up as the model specification says: pack n carries what came before it and predicts what comes after."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_control.types import PICTURE_INTERVALS
from physgen_policy.data.windows import Window, cut_window, draw_window, max_packs

HORIZON, CHUNKS = 8, 3
IDLE = np.zeros(2, np.float32)


def numbered_actions(steps: int) -> np.ndarray:
    """actions[k] = (k, gripper), so that every value tells its step."""
    return np.stack([np.arange(steps), np.ones(steps)], axis=1).astype(np.float32)


def test_hand_drawn_window() -> None:
    """An episode of 20 steps from its start: 3 packs, BOA first, targets run past the end masked."""
    cut = cut_window(
        numbered_actions(20),
        np.ones(20, bool),
        Window(0, max_packs(20, 0, 5, HORIZON), True),
        HORIZON,
        CHUNKS,
        IDLE,
    )
    assert cut.boa.tolist() == [True, False, False]
    assert cut.past[1, :, 0].tolist() == list(range(8))
    assert cut.past[2, :, 0].tolist() == list(range(8, 16))
    assert cut.target[0, :20, 0].tolist() == list(range(20))
    assert cut.target_mask[0].tolist() == [True] * 20 + [False] * 4
    assert cut.target_mask[2].sum() == 4
    assert cut.target[2, 4:, 0].tolist() == [0.0] * 20  # zero motion
    assert cut.target[2, 4:, 1].tolist() == [1.0] * 20  # gripper held
    assert cut.frames.tolist() == [0, 8, 16, 20]
    assert cut.frame_mask.tolist() == [True, True, False]
    assert cut.plan_mask.tolist() == [False, True, True]


def test_no_target_answers_a_push_it_cannot_foresee() -> None:
    """Steps 5 and 6 were pushed: windows before them stop there, a window right after them is whole."""
    labels = np.ones(40, bool)
    labels[5:7] = False

    def shown(start: int) -> int:
        window = Window(start, 1, True)
        cut = cut_window(numbered_actions(40), labels, window, HORIZON, CHUNKS, IDLE)
        mask = cut.target_mask[0]
        assert mask[: mask.sum()].all()
        return int(mask.sum())

    assert [shown(start) for start in (0, 4, 5, 6, 7)] == [5, 1, 0, 0, 24]


@given(steps=st.integers(1, 90), packs=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_laws_of_any_window(steps: int, packs: int, seed: int) -> None:
    """Past actions end where targets begin; nothing outside the episode is ever unmasked; no pack is empty."""
    window = draw_window(np.ones(steps, bool), packs, HORIZON, np.random.default_rng(seed))
    cut = cut_window(numbered_actions(steps), np.ones(steps, bool), window, HORIZON, CHUNKS, IDLE)
    assert 1 <= window.num_packs <= packs
    for n in range(window.num_packs):
        step = window.start + n * HORIZON
        assert cut.frames[n] == step < steps
        assert cut.target_mask[n, 0] and cut.target[n, 0, 0] == step
        assert cut.target_mask[n].sum() == min(steps - step, HORIZON * CHUNKS)
        if not cut.boa[n]:
            assert cut.past[n, :, 0].tolist() == list(range(step - HORIZON, step))
            assert (cut.plan[n] == cut.target[n, : HORIZON * (CHUNKS - 1)]).all()
        else:
            assert not cut.plan_mask[n]
        assert cut.frame_mask[n] == (step + HORIZON <= steps)
    if window.start < HORIZON:
        assert cut.boa[0]


@given(
    led=st.integers(0, 30),
    labelled=st.integers(1, 30),
    seed=st.integers(0, 10_000),
    aligned=st.sampled_from([0.0, 1.0]),
)
def test_windows_meet_labels(led: int, labelled: int, seed: int, aligned: float) -> None:
    """An aligned window is whole chunks before the first label and reaches it; any other starts at a label."""
    labels = np.arange(led + labelled) >= led
    window = draw_window(labels, 5, HORIZON, np.random.default_rng(seed), aligned)
    if aligned:
        assert window.start < HORIZON and (led - window.start) % HORIZON == 0
        assert led // HORIZON < window.num_packs
    else:
        assert labels[window.start]


def test_an_episode_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="without a label"):
        draw_window(np.zeros(9, bool), 5, HORIZON, np.random.default_rng(0))


labels_of_any_episode = st.lists(st.booleans(), min_size=1, max_size=90).map(lambda flags: np.array(flags))


@given(labels=labels_of_any_episode, seed=st.integers(0, 10_000), aligned=st.sampled_from([0.0, 0.3, 1.0]))
def test_with_a_picture_at_every_step_nothing_else_is_drawn(
    labels: np.ndarray, seed: int, aligned: float
) -> None:
    """The rule in the words of the time when there always was one: the same windows of the same random numbers."""
    labels[-1] = True
    rng, expected = np.random.default_rng(seed), np.random.default_rng(seed)
    window = draw_window(labels, 5, HORIZON, rng, aligned)
    shown = np.flatnonzero(labels)
    start = int(shown[0]) % HORIZON if expected.random() < aligned else int(expected.choice(shown))
    boa = start < HORIZON or bool(expected.random() < 0.5)
    assert window == Window(start, max_packs(len(labels), start, 5, HORIZON), boa)
    assert rng.bit_generator.state == expected.bit_generator.state
    cut = cut_window(numbered_actions(len(labels)), labels, window, HORIZON, CHUNKS, IDLE)
    steps = start + HORIZON * np.arange(window.num_packs + 1)
    assert cut.frames.tolist() == np.minimum(steps, len(labels)).tolist()


@given(
    labels=labels_of_any_episode,
    every=st.sampled_from(PICTURE_INTERVALS),
    packs=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    aligned=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_every_frame_of_a_window_has_a_picture(
    labels: np.ndarray, every: int, packs: int, seed: int, aligned: float
) -> None:
    """Whatever the episode's length; and what is no picture of the next chunk's border is masked."""
    labels[::every][-1] = True
    num_steps = len(labels)
    window = draw_window(labels, packs, HORIZON, np.random.default_rng(seed), aligned, every)
    cut = cut_window(numbered_actions(num_steps), labels, window, HORIZON, CHUNKS, IDLE, every)
    assert window.start % every == 0 and 1 <= window.num_packs <= packs
    assert (cut.frames % every == 0).all()
    assert (cut.frames // every < num_steps // every + 1).all()
    steps = window.start + HORIZON * np.arange(window.num_packs + 1)
    assert (cut.frames[:-1] == steps[:-1]).all()
    assert cut.frame_mask.tolist() == (steps[1:] <= num_steps).tolist()
    assert cut.frames[-1] == (steps[-1] if cut.frame_mask[-1] else num_steps // every * every)
    if not aligned:
        assert labels[window.start]


def test_windows_never_begin_between_pictures() -> None:
    """An episode that was pushed for three steps is entered at its next picture."""
    labels = np.arange(30) >= 3
    aligned = draw_window(labels, 5, HORIZON, np.random.default_rng(0), 1.0, 4)
    assert aligned == Window(4, 4, True)
    with pytest.raises(ValueError, match="start at a picture"):
        cut_window(numbered_actions(30), labels, Window(3, 1, True), HORIZON, CHUNKS, IDLE, 4)
    with pytest.raises(ValueError, match="miss the borders of chunks of 8"):
        draw_window(labels, 5, HORIZON, np.random.default_rng(0), 1.0, 3)
    with pytest.raises(ValueError, match="without a label"):
        draw_window(np.arange(9) % 8 == 1, 5, HORIZON, np.random.default_rng(0), 1.0, 8)
