# SPDX-License-Identifier: Apache-2.0
"""From a folder of bags to what is drawn of them."""

from pathlib import Path

from value_strategies import make_episode, write_bag

from physgen_bringup.pictures.recordings import load_recordings


def test_bags_that_can_be_read_are_drawn_and_the_others_are_named(tmp_path: Path) -> None:
    bags = [
        write_bag(tmp_path / name, make_episode(seed=seed, episode_id=name), steps=2)
        for seed, name in enumerate(("whole", "cut"))
    ]
    cut = next(bags[1].glob("*.mcap"))
    cut.write_bytes(cut.read_bytes()[:100])
    recordings, left_out = load_recordings(tmp_path)
    assert [recording.seed for recording in recordings] == [0]
    assert len(left_out) == 1
    assert left_out[0].startswith("left out: ") and "cut" in left_out[0]
