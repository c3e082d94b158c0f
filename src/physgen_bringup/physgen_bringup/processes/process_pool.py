# SPDX-License-Identifier: Apache-2.0
"""Processes that work on jobs, one at a time each: one that dies or hangs costs its job and is replaced.

Own code, because pools of the standard library end with their first dead worker, and none lets a worker ask its owner
for something in the middle of a job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from physgen_bringup.processes import guard

JobT = TypeVar("JobT")
CLOSE_GRACE_S = 2.0
"""Time that all workers together get to leave in order."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

WorkerMain = Callable[[Connection], None]
"""Receives jobs from the connection until it closes, and answers each with a Done. Runs in a process of its own."""
Serve = Callable[[Mapping[int, tuple[Any, Any]]], dict[int, Any]]
"""Answers what workers ask: (job, question) by number of the worker to answer by number."""


@dataclass(frozen=True, slots=True)
class Done:
    """A worker's result of its job; whatever else it sends is a question."""

    result: Any


@dataclass(frozen=True, slots=True)
class Lost:
    """A job whose worker died or took too long."""

    sentence: str
    """What happened."""
    wall_s: float
    """How long the job had taken."""


@dataclass(slots=True)
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    job: Any
    started_s: float


class ProcessPool(Generic[JobT]):
    """Runs jobs in at most `workers` processes. Not thread-safe; close it, or use it as a context manager.

    Args:
        workers: Most processes at a time; each is started when there is a job for it.
        main: What each of them runs; importable by name.
        job_timeout_s: A worker that takes longer is killed.
        serve: Answers what workers ask; all questions that came together at once.
    """

    def __init__(
        self, workers: int, main: WorkerMain, *, job_timeout_s: float, serve: Serve | None = None
    ) -> None:
        self._limit, self._main, self._timeout_s, self._serve = workers, main, job_timeout_s, serve
        # Spawned, not forked: simulators and torch hold threads.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._started = 0

    def __enter__(self) -> ProcessPool[JobT]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, jobs: deque[JobT]) -> Iterator[tuple[JobT, Any]]:
        """Yield (job, result) or (job, Lost) in the order in which jobs end. Jobs added meanwhile are run too."""
        self._fill(jobs)
        while self._workers:
            ready = wait([worker.connection for worker in self._workers], timeout=1.0)
            questions: dict[int, tuple[_Worker, Any]] = {}
            for worker in list(self._workers):
                if worker.connection in ready:
                    answer = self._receive(worker)
                    if not isinstance(answer, Done | Lost):
                        questions[worker.number] = (worker, answer)
                        continue
                elif time.monotonic() - worker.started_s > self._timeout_s:
                    answer = self._lose(worker, f"it took longer than {self._timeout_s:.0f} s")
                else:
                    continue
                job: JobT = worker.job
                self._next(worker, jobs)
                self._fill(jobs)
                yield job, answer.result if isinstance(answer, Done) else answer
            self._answer(questions)

    def close(self) -> None:
        """End every worker within `CLOSE_GRACE_S`."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.connection.close()  # it leaves its loop when its job is over
        end_s = time.monotonic() + CLOSE_GRACE_S
        for worker in workers:
            worker.process.join(max(0.0, end_s - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _receive(self, worker: _Worker) -> Any:
        try:
            return worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(CLOSE_GRACE_S)
            return self._lose(worker, f"the worker process ended with status {worker.process.exitcode}")

    def _lose(self, worker: _Worker, sentence: str) -> Lost:
        self._end(worker)
        return Lost(sentence, time.monotonic() - worker.started_s)

    def _next(self, worker: _Worker, jobs: deque[JobT]) -> None:
        """Give a worker that is left its next job, or end it."""
        if worker not in self._workers:
            return
        if not jobs:
            self._end(worker)
            return
        job = jobs.popleft()
        try:
            worker.connection.send(job)
        except OSError:  # it died after its last answer: the job is not lost
            jobs.appendleft(job)
            self._end(worker)
            return
        worker.job, worker.started_s = job, time.monotonic()

    def _fill(self, jobs: deque[JobT]) -> None:
        while len(self._workers) < self._limit and jobs:
            self._workers.append(self._start(jobs.popleft()))

    def _answer(self, questions: dict[int, tuple[_Worker, Any]]) -> None:
        if not questions:
            return
        if self._serve is None:
            raise TypeError("a worker asks, and this pool has nobody to answer")
        answers = self._serve({n: (worker.job, question) for n, (worker, question) in questions.items()})
        for number, (worker, _) in questions.items():
            try:
                worker.connection.send(answers[number])
            except OSError:
                continue  # it died meanwhile: the next wait reports that

    def _start(self, job: JobT) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_run, args=(self._main, theirs, os.getpid()), daemon=False)
        with _single_threaded_children():
            process.start()
        theirs.close()
        with suppress(OSError):  # it is dead already: the next wait reports that
            ours.send(job)
        self._started += 1
        return _Worker(self._started, process, ours, job, time.monotonic())

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(CLOSE_GRACE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _run(main: WorkerMain, connection: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    guard.die_with(parent, signal.SIGKILL)
    try:
        main(connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Let workers share the cores: numerical libraries read these variables when they are loaded."""
    old = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
