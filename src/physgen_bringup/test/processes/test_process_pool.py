# SPDX-License-Identifier: Apache-2.0
"""A worker that dies or hangs costs its job and nothing else; a closed pool leaves nobody behind."""

from __future__ import annotations

import time
from collections import Counter, deque

import pytest
from pool_workers import obey
from running_processes import children

from physgen_bringup.processes.process_pool import CLOSE_GRACE_S, Lost, ProcessPool


def words(answers: list[tuple[str, object]]) -> Counter[str]:
    return Counter("lost" if isinstance(answer, Lost) else answer[0] for _, answer in answers)  # type: ignore[index]


def test_a_worker_that_dies_costs_its_job(capfd: pytest.CaptureFixture[str]) -> None:
    jobs = deque(["a", "die", "b", "c", "die", "d"])
    with ProcessPool[str](2, obey, job_timeout_s=60.0) as pool:
        answers = list(pool.run(jobs))
    assert words(answers) == {"a": 1, "b": 1, "c": 1, "d": 1, "lost": 2}
    lost = [answer for job, answer in answers if job == "die"]
    assert all(isinstance(answer, Lost) and "status -9" in answer.sentence for answer in lost)
    assert children() == []


def test_a_worker_that_dies_between_two_jobs_costs_none_that_it_did_not_get() -> None:
    """The pool once ended with a broken pipe where the next job was handed to a worker that had just left."""
    for _ in range(3):
        jobs = deque(["leave", "a", "leave", "b", "c"])
        with ProcessPool[str](1, obey, job_timeout_s=60.0) as pool:
            answers = words(list(pool.run(jobs)))
        # A job is lost only if it was sent before the death was known.
        assert answers["leave"] == 2
        assert sum(answers.values()) == 5


def test_a_worker_that_hangs_is_replaced() -> None:
    with ProcessPool[str](1, obey, job_timeout_s=3.0) as pool:
        answers = list(pool.run(deque(["hang", "a"])))
    assert words(answers) == {"lost": 1, "a": 1}
    assert children() == []


def test_workers_may_ask() -> None:
    def serve(questions):
        return {number: f"{job}:{question}" for number, (job, question) in questions.items()}

    with ProcessPool[str](2, obey, job_timeout_s=60.0, serve=serve) as pool:
        answers = words(list(pool.run(deque(["ask", "a", "ask"]))))
    assert answers == {"ask:question": 2, "a": 1}


def test_a_pool_that_is_closed_amid_its_jobs_leaves_nobody() -> None:
    pool = ProcessPool[str](2, obey, job_timeout_s=60.0)
    running = pool.run(deque(["a", "hang", "hang"]))
    next(running)
    start_s = time.monotonic()
    pool.close()
    assert time.monotonic() - start_s < CLOSE_GRACE_S + 30.0  # the jobs would hang for ever
    assert children() == []
