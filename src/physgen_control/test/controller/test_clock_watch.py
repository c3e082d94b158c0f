# SPDX-License-Identifier: Apache-2.0
"""From which difference on two clocks have jumped, and until when something was heard of lately."""

import pytest

from physgen_control.controller.clock_watch import ClockWatch

PERIOD_NS = 10
LIMIT_NS = 15
"""One and a half periods."""


@pytest.mark.parametrize("by", [-100, -LIMIT_NS - 1, -LIMIT_NS, -1, 0, 1, LIMIT_NS, LIMIT_NS + 1, 100])
def test_more_than_one_and_a_half_periods_between_the_clocks_is_a_jump(by: int) -> None:
    steady = iter([1000, 1050])
    watch = ClockWatch(PERIOD_NS, lambda: next(steady))
    assert watch.jump(70_000) == 0  # the first look
    assert watch.jump(70_050 + by) == (by if abs(by) > LIMIT_NS else 0)


@pytest.mark.parametrize("by", [-100, -LIMIT_NS - 1, -LIMIT_NS, -1, 0, 1000])
def test_without_a_steady_clock_only_a_step_back_is_one(by: int) -> None:
    watch = ClockWatch(PERIOD_NS, None)
    assert watch.jump(70_000) == 0
    assert watch.jump(70_000 + by) == (by if by < -LIMIT_NS else 0)


@pytest.mark.parametrize(
    ("ros", "steady", "heard"), [(0, 0, True), (5, 5, True), (6, 5, False), (5, 6, False), (-1, 0, False)]
)
def test_lately_is_by_both_clocks_and_not_in_the_future(ros: int, steady: int, heard: bool) -> None:
    now = [1000]
    watch = ClockWatch(PERIOD_NS, lambda: now[0])
    mark = watch.mark(70_000)
    now[0] += steady
    assert watch.within(mark, 70_000 + ros, 5) is heard
    assert not watch.within(None, 70_000, 5)


def test_a_mark_moves_with_the_clock_that_jumped() -> None:
    steady = [1000]
    watch = ClockWatch(PERIOD_NS, lambda: steady[0])
    moved = watch.mark(70_000).shifted(500)
    assert (moved.ros_ns, moved.steady_ns) == (70_500, 1000)
