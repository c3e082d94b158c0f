# SPDX-License-Identifier: Apache-2.0
"""People hesitate, cameras are late, messages get lost: which images a dataset has beside the actions then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_control.bags.errors import BagError
from physgen_control.bags.serialize import PICTURE_EVERY, CameraSpec, EpisodeBag
from physgen_control.types import (
    PICTURE_INTERVALS,
    AppliedAction,
    Episode,
    EpisodePhase,
    Limit,
    Pose,
    RobotState,
    Source,
)
from physgen_policy.contract.observation import GateConfig, shown_from_ns
from physgen_policy.data.demonstration import EpisodeRejectedError, read_demonstration
from physgen_policy.data.image_choice import LATEST_STEPS, NoImagesError, choose_images

CAMERAS = ("fixed", "wrist")
PERIOD_NS = 50_000_000
START_NS = 1_790_000_000_000_000_000
CONFIG = GateConfig(step_period_ns=PERIOD_NS, execute_steps=1, any_session=True)
EPISODE = Episode(
    episode_id="e", task="t", seed=0, instruction="i", start_ns=START_NS, robot="fr3", source="real"
)
TELEOP, HOLD = Source.TELEOP, Source.HOLD
parts = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from((HOLD, Source.HOMING)), st.integers(0, 40)),
    min_size=1,
    max_size=4,
)
"""So many steps of a person, then so many of nobody."""


def pose() -> Pose:
    return Pose(position=np.array([0.4, 0.0, 0.3]), quaternion=np.array([1.0, 0.0, 0.0, 0.0]))


def applied(sources: list[Source]) -> list[AppliedAction]:
    """One action per step; its numbers are those of the step."""
    return [
        AppliedAction(
            stamp_ns=START_NS + step * PERIOD_NS,
            state_stamp_ns=START_NS + step * PERIOD_NS,
            session_id="s",
            episode_id="e",
            step=step,
            chunk_seq=0,
            base_step=0,
            step_index=0,
            chunk_index=0,
            source=source,
            executed=True,
            raw=np.full(7, step, np.float32),
            applied=np.full(7, step, np.float32),
            target_pose=pose(),
            gripper_width=0.04,
        )
        for step, source in enumerate(sources)
    ]


def image_stamps(steps: int, camera_ns: int, offset_ns: int = 0) -> np.ndarray:
    end = START_NS + (steps + 2) * PERIOD_NS
    return np.arange(START_NS + offset_ns, end, camera_ns, dtype=np.int64)


def choose(actions: list[AppliedAction], stamps: np.ndarray) -> dict[str, list[int]]:
    meant = [action for action in actions if action.source is TELEOP]
    return choose_images(EPISODE, actions, meant, dict.fromkeys(CAMERAS, stamps), CONFIG)


@given(st.integers(0, 12), parts, st.integers(20, 50), st.integers(0, 19))
def test_what_is_seen_before_an_action_is_seen_after_the_pause_before_it(
    idle: int, moves: list[tuple[int, Source, int]], camera_ms: int, offset_ms: int
) -> None:
    """Wherever a person hesitates, no recording is refused, and no image is of another moment."""
    sources = [HOLD] * idle
    for acting, nobody, resting in moves:
        sources += [TELEOP] * acting + [nobody] * resting
    sources += [TELEOP] * 2
    camera_ns = camera_ms * 1_000_000
    stamps = image_stamps(len(sources), camera_ns, offset_ms * 1_000_000)
    actions = applied(sources)
    chosen = choose(actions, stamps)
    meant = [action.step for action in actions if action.source is TELEOP]
    for camera in CAMERAS:
        seen = stamps[chosen[camera]]
        assert len(seen) == len(meant) + 1
        assert (np.diff(seen) > 0).all()
        for stamp, step in zip(seen, [*meant, meant[-1] + 1], strict=True):
            due = shown_from_ns(actions[step - 1], PERIOD_NS) if step else START_NS
            # The first image since then that no other action has.
            assert 0 <= stamp - due <= 2 * camera_ns


def test_slow_cameras_are_refused_although_enough_images_follow_the_last_action() -> None:
    """They fall behind further with every step: each action would lie beside images of later ones."""
    actions = applied([TELEOP] * 40 + [HOLD] * 60)
    with pytest.raises(NoImagesError, match="at least as fast as the control rate, 20 Hz"):
        choose(actions, image_stamps(len(actions), 2 * PERIOD_NS))


def test_a_camera_that_dropped_a_few_images_is_forgiven() -> None:
    """A fast camera catches up."""
    actions = applied([TELEOP] * 30)
    stamps = image_stamps(30, PERIOD_NS // 2)
    gap = (stamps < START_NS + 10 * PERIOD_NS) | (stamps >= START_NS + (9 + LATEST_STEPS) * PERIOD_NS)
    chosen = choose(actions, stamps[gap])["fixed"]
    assert stamps[gap][chosen[-1]] - START_NS <= 31 * PERIOD_NS


def test_the_last_actions_that_no_image_shows_are_left_out() -> None:
    """A world that ends its episode at the success never takes the action that was on its way."""
    actions = applied([HOLD, *[TELEOP] * 20])
    stamps = image_stamps(len(actions), PERIOD_NS)
    chosen = choose(actions, stamps[stamps <= actions[-1].stamp_ns])["wrist"]
    assert stamps[chosen[-1]] == actions[-1].stamp_ns
    assert len(chosen) == 20
    with pytest.raises(NoImagesError, match="no images for control step 15 of 20"):
        choose(actions, stamps[stamps < actions[16].stamp_ns])


@given(st.integers(2, 40), st.sampled_from(PICTURE_INTERVALS), st.integers(0, 3))
def test_fewer_pictures_are_those_of_their_steps(steps: int, every: int, more: int) -> None:
    """Those of the steps 0, N, 2 N, ... of a recording that has them all, and no other recording is refused."""
    actions = applied([TELEOP] * steps)
    config = replace(CONFIG, execute_steps=every)
    whole = START_NS + PERIOD_NS * np.arange(steps + 1, dtype=np.int64)
    few = whole[:: max(1, every >> more)]
    for stamps in (whole, few):
        chosen = choose_images(EPISODE, actions, actions, dict.fromkeys(CAMERAS, stamps), config)
        for camera in CAMERAS:
            assert stamps[chosen[camera]].tolist() == whole[::every].tolist()


@given(st.data(), st.integers(2, 40), st.sampled_from(PICTURE_INTERVALS[1:]))
def test_none_of_the_few_pictures_may_be_missing(data: st.DataObject, steps: int, every: int) -> None:
    """Not even the last: an image of another step would lie beside the actions."""
    actions = applied([TELEOP] * steps)
    stamps = START_NS + PERIOD_NS * np.arange(0, steps + 1, every, dtype=np.int64)
    lost = data.draw(st.integers(0, len(stamps) - 1))
    images = dict.fromkeys(CAMERAS, stamps) | {"wrist": np.delete(stamps, lost)}
    with pytest.raises(NoImagesError, match=f"no images for control step {lost * every}"):
        choose_images(EPISODE, actions, actions, images, replace(CONFIG, execute_steps=every))


def test_only_a_bag_that_says_so_may_have_fewer_pictures(tmp_path: Path) -> None:
    """A live recording whose cameras are as slow is refused as ever."""
    actions = applied([TELEOP] * 22)
    bag = write_bag(tmp_path / "said", actions, 4 * PERIOD_NS, every="4")
    shown = read_demonstration(bag, control_rate_hz=20.0, cameras=CAMERAS)
    assert (shown.picture_every, len(shown.actions), len(shown.labels)) == (4, 22, 22)
    assert shown.observations["fixed"] == shown.observations["wrist"] == list(range(6))
    silent = write_bag(tmp_path / "silent", actions, 4 * PERIOD_NS)
    with pytest.raises(EpisodeRejectedError, match="at least as fast"):
        read_demonstration(silent, control_rate_hz=20.0, cameras=CAMERAS)
    wrong = write_bag(tmp_path / "wrong", actions, every="3")
    with pytest.raises(BagError, match="says picture_every '3', expected one of 1, 2, 4, 8"):
        read_demonstration(wrong, control_rate_hz=20.0, cameras=CAMERAS)


def test_labels_without_a_picture_teach_nothing(tmp_path: Path) -> None:
    actions = [replace(a, limits=Limit.DISTURBANCE) if a.step % 4 == 0 else a for a in applied([TELEOP] * 9)]
    bag = write_bag(tmp_path, actions, 4 * PERIOD_NS, every="4")
    with pytest.raises(EpisodeRejectedError, match="none of them where it shows what to do"):
        read_demonstration(bag, control_rate_hz=20.0, cameras=CAMERAS)


def write_bag(
    folder: Path, actions: list[AppliedAction], camera_ns: int = PERIOD_NS // 2, every: str = ""
) -> Path:
    cameras = {name: CameraSpec(frame_id=name) for name in CAMERAS}
    picture = np.zeros((8, 8, 3), np.uint8)
    extra = {PICTURE_EVERY: every} if every else {}
    with EpisodeBag(folder / "bag", EPISODE, cameras, joint_prefix="fr3", extra=extra) as bag:
        for stamp in image_stamps(len(actions), camera_ns).tolist():
            state = RobotState(
                stamp_ns=stamp,
                positions=np.zeros(7),
                velocities=np.zeros(7),
                gripper_width=0.0,
                tcp_pose=pose(),
            )
            bag.add_observation(stamp, picture, picture, state)
        for action in actions:
            bag.add_applied(action)
        return bag.finish(EpisodePhase.SUCCESS, step=len(actions))


def test_a_demonstration_with_pauses_holds_what_the_person_did(tmp_path: Path) -> None:
    """Teleoperated episodes begin with HOLD: nobody presses the deadman in the step in which the episode starts."""
    sources = [HOLD] * 3 + [TELEOP] * 5 + [HOLD] * 20 + [TELEOP] * 5 + [HOLD] * 4
    bag = write_bag(tmp_path, applied(sources))
    shown = read_demonstration(bag, control_rate_hz=20.0, cameras=CAMERAS)
    np.testing.assert_array_equal(shown.values[:, 0], [3, 4, 5, 6, 7, 28, 29, 30, 31, 32])
    assert shown.intervention.all()
    assert shown.labels.all()
    assert len(shown.observations["wrist"]) == 11


def test_a_lost_step_is_named(tmp_path: Path) -> None:
    actions = applied([HOLD] * 3 + [TELEOP] * 20)
    bag = write_bag(tmp_path, actions[:7] + actions[8:])
    with pytest.raises(
        EpisodeRejectedError, match="lost the actions of 1 control steps, the first of step 7"
    ):
        read_demonstration(bag, control_rate_hz=20.0, cameras=CAMERAS)
