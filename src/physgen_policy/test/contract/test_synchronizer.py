# SPDX-License-Identifier: Apache-2.0
"""Laws of the synchronizer, for any order of arrival."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physgen_control.types import CameraFrame
from physgen_policy.contract.synchronizer import Pick, Put, Stale, SyncedFrames, Synchronizer

IMAGE = np.zeros((2, 2, 3), np.uint8)
STREAMS = ("fixed", "wrist")
MS = 1_000_000


def frame(stamp_ns: int) -> CameraFrame:
    return CameraFrame(stamp_ns=stamp_ns, rgb=IMAGE, frame_id="camera")


def stamps(frames: SyncedFrames) -> tuple[int, ...]:
    return tuple(f.stamp_ns for f in frames.frames)


puts = st.tuples(st.sampled_from(STREAMS), st.integers(-50, 200))
takes = st.tuples(st.integers(-60, 200), st.integers(-50, 250), st.sampled_from(Pick))
operations = st.lists(st.one_of(puts, takes), max_size=60)


@settings(max_examples=300, deadline=None)
@given(operations=operations, slop=st.integers(0, 20), queue_size=st.integers(1, 6))
def test_every_set_keeps_the_promises(operations, slop: int, queue_size: int) -> None:
    """Any interleaving: skew <= slop, within [min, now], strictly increasing per stream, bounded."""
    sync = Synchronizer(slop_ns=slop, queue_size=queue_size)
    given_stamps: dict[str, set[int]] = {s: set() for s in STREAMS}
    last = dict.fromkeys(STREAMS, -(10**9))
    for operation in operations:
        if len(operation) == 2:
            stream, stamp = operation
            sync.put(stream, frame(stamp))
            given_stamps[stream].add(stamp)
            assert sync.num_buffered <= 2 * queue_size
            continue
        minimum, now, pick = operation
        result = sync.take(minimum, now, pick)
        if isinstance(result, Stale):
            assert result.reason
            continue
        assert result.skew_ns <= slop
        assert minimum <= result.oldest_ns
        assert result.stamp_ns <= now
        for stream in STREAMS:
            assert result[stream].stamp_ns > last[stream]
            assert result[stream].stamp_ns in given_stamps[stream]
            last[stream] = result[stream].stamp_ns


@settings(max_examples=200, deadline=None)
@given(
    fixed=st.sets(st.integers(0, 100), min_size=1, max_size=6),
    wrist=st.sets(st.integers(0, 100), min_size=1, max_size=6),
    slop=st.integers(0, 30),
    pick=st.sampled_from(Pick),
    data=st.data(),
)
def test_result_depends_on_the_frames_not_on_their_order(fixed, wrist, slop, pick, data) -> None:
    """The same frames in any order, some twice, give the same set, and one is found if it exists."""
    arrivals = [("fixed", s) for s in fixed] + [("wrist", s) for s in wrist]
    reference, shuffled = (Synchronizer(slop_ns=slop, queue_size=8) for _ in range(2))
    for stream, stamp in arrivals:
        reference.put(stream, frame(stamp))
    order = data.draw(st.permutations(arrivals + data.draw(st.lists(st.sampled_from(arrivals), max_size=5))))
    seen = set()
    for stream, stamp in order:
        expected = Put.DUPLICATE if (stream, stamp) in seen else Put.NEW
        assert shuffled.put(stream, frame(stamp)) is expected
        seen.add((stream, stamp))
    a, b = reference.take(0, 1000, pick), shuffled.take(0, 1000, pick)
    possible = [(max(f, w), abs(f - w)) for f in fixed for w in wrist if abs(f - w) <= slop]
    if not possible:
        assert isinstance(a, Stale)
        assert isinstance(b, Stale)
        return
    assert isinstance(a, SyncedFrames)
    assert isinstance(b, SyncedFrames)
    assert (a.stamp_ns, a.skew_ns) == (b.stamp_ns, b.skew_ns)
    newest = min(possible)[0] if pick is Pick.FIRST else max(possible)[0]
    assert (a.stamp_ns, a.skew_ns) == (newest, min(skew for stamp, skew in possible if stamp == newest))


@settings(deadline=None)
@given(before=st.lists(puts, max_size=12), start=st.integers(0, 150), after=st.lists(puts, max_size=12))
def test_nothing_older_than_the_episode_survives_its_start(before, start: int, after) -> None:
    """After clear(start) only images from `start` on come out, whenever they arrived."""
    sync = Synchronizer(slop_ns=5, queue_size=32)
    for stream, stamp in before:
        sync.put(stream, frame(stamp))
    sync.clear(start)
    for stream, stamp in after:
        assert (sync.put(stream, frame(stamp)) is Put.LATE) == (stamp < start)
    while isinstance(result := sync.take(-1000, 1000), SyncedFrames):
        assert result.oldest_ns >= start


def test_clear_allows_time_to_restart() -> None:
    """A new episode may be older than what was taken: monotony holds within an episode only."""
    sync = Synchronizer(slop_ns=0)
    for stream in STREAMS:
        sync.put(stream, frame(100))
    assert isinstance(sync.take(0, 100), SyncedFrames)
    assert sync.put("fixed", frame(100)) is Put.DUPLICATE
    assert sync.put("fixed", frame(50)) is Put.LATE
    sync.clear()
    assert sync.put("fixed", frame(50)) is Put.NEW


def test_images_from_the_future_wait_for_the_clock() -> None:
    """A set becomes available exactly when `now` reaches its newest stamp."""
    sync = Synchronizer(slop_ns=2)
    sync.put("fixed", frame(10))
    sync.put("wrist", frame(12))
    stale = sync.take(0, 11)
    assert isinstance(stale, Stale)
    assert "future" in stale.reason
    assert "wrist" in stale.reason
    taken = sync.take(0, 12)
    assert isinstance(taken, SyncedFrames)
    assert stamps(taken) == (10, 12)


def test_reasons_name_the_missing_camera_and_the_skew() -> None:
    """People must see from the status which camera is silent."""
    sync = Synchronizer(slop_ns=5 * MS)
    sync.put("fixed", frame(0))
    stale = sync.take(0, 0)
    assert isinstance(stale, Stale)
    assert "wrist" in stale.reason
    assert "fixed" not in stale.reason
    sync.put("wrist", frame(9 * MS))
    stale = sync.take(0, 9 * MS)
    assert isinstance(stale, Stale)
    assert "5.0 ms" in stale.reason


def test_bad_use_is_refused_with_a_sentence() -> None:
    """Typing errors in stream names must not silently wait for ever."""
    with pytest.raises(ValueError, match="unknown camera stream 'front'"):
        Synchronizer(slop_ns=0).put("front", frame(0))
    with pytest.raises(ValueError, match="distinct"):
        Synchronizer(("a", "a"), slop_ns=0)
    with pytest.raises(ValueError, match="slop_ns"):
        Synchronizer(slop_ns=-1)
