# SPDX-License-Identifier: Apache-2.0
"""Worker processes that run episodes, each with its own world; a worker that dies costs its episode and is replaced.

Where the workers share one policy, they ask this process for chunks over the same connection as they report on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from physgen_bringup import guard
from physgen_bringup.evaluation_spec import EvaluationSpec
from physgen_bringup.results import EpisodeResult, Latencies, Trial
from physgen_bringup.shared_policy import PolicyRequest, PolicyServer
from physgen_bringup.tally import crashed_result
from physgen_control.errors import UserError

# A first episode includes start-up of simulator and networks; later ones are far faster.
EPISODE_TIMEOUT_S = 900.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to run. video: draw every step and write it there."""

    spec: EvaluationSpec
    trial: Trial
    video: Path | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a job."""

    job: Job
    episode: EpisodeResult
    latencies: Latencies


@dataclass(slots=True)
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    job: Job
    started_s: float


class WorkerPool:
    """Runs jobs in at most `workers` processes, one episode each at a time. Not thread-safe; close it."""

    def __init__(self, workers: int) -> None:
        self._limit = workers
        # Spawned, not forked: simulators and torch hold threads.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._servers: dict[tuple[Path, int], PolicyServer] = {}
        self._started = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, jobs: deque[Job]) -> Iterator[JobResult]:
        """Run all jobs; results come in the order in which episodes end. Jobs added meanwhile are run too."""
        while len(self._workers) < self._limit and jobs:
            self._workers.append(self._start(jobs.popleft()))
        while self._workers:
            ready = wait([worker.connection for worker in self._workers], timeout=1.0)
            requests: list[tuple[_Worker, PolicyRequest]] = []
            for worker in list(self._workers):
                if worker.connection in ready:
                    answer = self._receive(worker)
                    if isinstance(answer, PolicyRequest):
                        requests.append((worker, answer))
                        continue
                    self._next(worker, jobs)
                    yield answer
                elif time.monotonic() - worker.started_s > EPISODE_TIMEOUT_S:
                    yield self._lost(worker, f"the episode took longer than {EPISODE_TIMEOUT_S:.0f} s")
                    self._replace(worker, jobs)
            self._serve(requests)

    def close(self) -> None:
        """End every worker."""
        for worker in list(self._workers):
            self._end(worker)

    def _receive(self, worker: _Worker) -> JobResult | PolicyRequest:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(5.0)
            return self._lost(worker, f"the worker process ended with status {worker.process.exitcode}")
        if isinstance(message, PolicyRequest):
            return message
        episode, latencies = message
        return JobResult(worker.job, episode, latencies)

    def _lost(self, worker: _Worker, error: str) -> JobResult:
        self._end(worker)
        wall_s = time.monotonic() - worker.started_s
        return JobResult(worker.job, crashed_result(worker.job.trial, error, wall_s), Latencies())

    def _next(self, worker: _Worker, jobs: deque[Job]) -> None:
        if worker not in self._workers:
            self._replace(worker, jobs)
        elif jobs:
            worker.job, worker.started_s = jobs.popleft(), time.monotonic()
            worker.connection.send(worker.job)
        else:
            self._end(worker)

    def _replace(self, worker: _Worker, jobs: deque[Job]) -> None:
        assert worker not in self._workers
        if jobs:
            self._workers.append(self._start(jobs.popleft()))

    def _serve(self, requests: list[tuple[_Worker, PolicyRequest]]) -> None:
        """Answer all requests for chunks that came together, in batches."""
        groups: dict[tuple[Path, int], list[tuple[_Worker, PolicyRequest]]] = {}
        for worker, request in requests:
            spec = worker.job.spec
            assert spec.checkpoint is not None
            groups.setdefault((spec.checkpoint, spec.batch), []).append((worker, request))
        for (checkpoint, batch), group in groups.items():
            if (checkpoint, batch) not in self._servers:
                self._servers[checkpoint, batch] = PolicyServer(checkpoint, batch)
            answers = self._servers[checkpoint, batch].answer({w.number: request for w, request in group})
            for worker, _ in group:
                try:
                    worker.connection.send(answers[worker.number])
                except OSError:
                    continue  # it died meanwhile: the next wait reports that

    def _start(self, job: Job) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_worker_main, args=(theirs, os.getpid()), daemon=False)
        with _single_threaded_children():
            process.start()
        theirs.close()
        ours.send(job)
        self._started += 1
        return _Worker(self._started, process, ours, job, time.monotonic())

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()  # the worker leaves its loop
        worker.process.join(5.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Workers share the cores: numerical libraries read these variables when they are loaded."""
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


def _worker_main(connection: Connection, parent: int) -> None:
    """Run jobs from the connection until it closes; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    guard.die_with(parent, signal.SIGKILL)
    from physgen_bringup.inprocess import InProcess, Stage

    stage = Stage(connection)
    session: InProcess | None = None
    made_for: tuple[EvaluationSpec, bool] | None = None
    try:
        while True:
            job: Job = connection.recv()
            wanted = (job.spec, job.video is not None)
            started = time.monotonic()
            answer: tuple[EpisodeResult, Latencies]
            try:
                if session is None or made_for != wanted:
                    session, made_for = stage.session(job.spec, film=wanted[1]), wanted
                answer = session.run_episode(*job.trial, video=job.video)
            except (
                Exception
            ) as error:  # whatever the simulator raises costs this episode only, and is reported
                wall_s = time.monotonic() - started
                answer = crashed_result(job.trial, _sentence(error), wall_s), Latencies()
                if not isinstance(error, UserError):
                    stage.close()  # the simulator may be broken: start a new one
                    session = None
            connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        stage.close()


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
