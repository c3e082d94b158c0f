# SPDX-License-Identifier: Apache-2.0
"""The health of a recording: rates, gaps, losses and disk space, against what the cameras promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from physgen_control.messages import topics
from physgen_control.recording.health import Health, HealthMonitor, promised_rates

CAMERA = topics.image_topic("fixed")
RATES = promised_rates(topics.recorded_topics(sim=False), camera_hz=30.0, state_hz=100.0)


def look(monitor: HealthMonitor, mono_ns: int) -> Health:
    return monitor.look(mono_ns, bag_bytes=10**6, waiting_bytes=0, disk_free_bytes=60 * 10**6)


def feed(monitor: HealthMonitor, rate_hz: float, seconds: float, size: int = 100) -> None:
    for topic, promised in RATES.items():
        rate = rate_hz if topic == CAMERA else promised
        for number in range(int(seconds * rate)):
            at = int(number * 1e9 / rate) + 1
            monitor.on_message(topic, at, size, at)


def test_cameras_and_state_are_promised_and_nothing_else() -> None:
    assert {
        CAMERA: 30.0,
        topics.image_topic("wrist"): 30.0,
        topics.JOINT_STATES: 100.0,
        topics.CURRENT_POSE: 100.0,
    } == RATES
    assert not promised_rates(topics.recorded_topics(), camera_hz=0.0, state_hz=0.0)


def test_a_healthy_recording_has_no_problems() -> None:
    monitor = HealthMonitor(RATES)
    monitor.begin(0)
    feed(monitor, 30.0, 5.0, size=10_000)
    health = look(monitor, 5 * 10**9)
    assert not health.problems
    assert abs(health.topics[CAMERA].rate_hz - 30.0) < 1.0
    assert abs(health.mb_per_s - 2.6) < 0.1  # 2 x 30 Hz and 2 x 100 Hz of 10 kB
    assert abs(health.minutes_left - 60 / health.mb_per_s / 60) < 1e-6
    assert "nothing is missing" in health.line()


def test_a_slow_camera_is_named_with_its_rate_and_its_gaps() -> None:
    monitor = HealthMonitor(RATES)
    monitor.begin(0)
    feed(monitor, 15.0, 4.0)
    health = look(monitor, 4 * 10**9)
    assert [p for p in health.problems if "camera fixed comes at 15.0 of 30 Hz" in p]
    assert health.topics[CAMERA].missing == 59  # every second image


def test_a_camera_that_stops_is_named_although_nothing_arrives() -> None:
    monitor = HealthMonitor(RATES)
    monitor.begin(0)
    assert [p for p in look(monitor, 3 * 10**9).problems if "camera fixed comes at 0.0 of 30 Hz" in p]


@given(st.sets(st.integers(1, 200)))
def test_every_lost_image_is_one_gap_and_no_other(lost: set[int]) -> None:
    """Jitter of a quarter period is no gap; n images lost in a row are n missing."""
    monitor = HealthMonitor({CAMERA: 30.0})
    monitor.begin(0)
    period = 1e9 / 30.0
    for number in range(202):
        if number not in lost:
            jitter = period / 4 if number % 3 == 0 else 0.0
            monitor.on_message(CAMERA, int(10**9 + number * period + jitter), 1, number)
    assert look(monitor, 10**9).topics[CAMERA].missing == len(lost)


def test_losses_are_counted_by_cause_and_a_new_recording_begins_at_zero() -> None:
    monitor = HealthMonitor(RATES)
    monitor.begin(0)
    monitor.on_lost(CAMERA, 3)
    monitor.on_message(CAMERA, 1, 1, 1, dropped=True)
    text = " ".join(look(monitor, 10**9).problems)
    assert "lost 3 of camera fixed" in text
    assert "1 of camera fixed were dropped" in text
    monitor.begin(2 * 10**9)
    assert not look(monitor, 2 * 10**9).problems
