# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy over many seeds in worker processes, each with its own world and policy, without ROS.

Results are written after every episode; a run that was killed continues where it stopped. A worker that dies
costs its episode, which is counted as a crash, and is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from physgen_bringup import guard
from physgen_bringup.protocol import make_protocol
from physgen_bringup.results import EpisodeResult, Evaluation, Latencies, open_evaluation
from physgen_bringup.tally import crashed_result
from physgen_control.errors import UserError

# A first episode includes start-up of simulator and networks; later ones are far faster.
EPISODE_TIMEOUT_S = 900.0
MAX_CONSECUTIVE_CRASHES = 5
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """What to evaluate; episode i has seed `seed + i`. checkpoint is a checked folder, or None without one.

    max_steps 0 means the task's own limit. bag_dir: recordings for the replay policy.
    """

    sim: str
    task: str
    policy: str
    checkpoint: Path | None
    episodes: int
    seed: int
    max_steps: int
    out: Path
    workers: int
    save_actions: bool = False
    bag_dir: Path | None = None

    @property
    def seeds(self) -> range:
        """Seeds of all episodes."""
        return range(self.seed, self.seed + self.episodes)


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    seed: int
    started_s: float


def run_in_process(
    spec: EvaluationSpec, report: Callable[[Evaluation, EpisodeResult | None], None]
) -> Evaluation:
    """Run what is missing of an evaluation.

    Args:
        spec: what to run.
        report: called once with None before the first episode and after every episode with its result.

    Raises:
        UserError: the output folder holds other results, or every episode crashes.
    """
    evaluation = open_evaluation(
        spec.out,
        make_protocol(
            sim=spec.sim,
            task=spec.task,
            policy=spec.policy,
            checkpoint=spec.checkpoint,
            pace="lockstep",
            execution="sync",
            max_steps=spec.max_steps,
            transport="in-process",
        ),
    )
    waiting = deque(evaluation.missing(spec.seeds))
    report(evaluation, None)
    crashes = 0
    with _pool(spec) as pool:
        for result, latencies in pool.results(waiting):
            evaluation.add(result)
            evaluation.latencies.extend(latencies)
            evaluation.write(spec.out)
            report(evaluation, result)
            crashes = crashes + 1 if result.crashed else 0
            if crashes >= MAX_CONSECUTIVE_CRASHES:
                raise UserError(f"{crashes} episodes crashed in a row, the last one because: {result.error}")
    evaluation.write(spec.out)
    return evaluation


class _Pool:
    """Worker processes that each run one episode at a time."""

    def __init__(self, spec: EvaluationSpec) -> None:
        self._spec = spec
        # Spawned, not forked: simulators and torch hold threads.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def results(self, waiting: deque[int]) -> Iterator[tuple[EpisodeResult, Latencies]]:
        """Run all waiting seeds; results come in the order in which episodes end."""
        while len(self._workers) < self._spec.workers and waiting:
            self._workers.append(self._start(waiting.popleft()))
        while self._workers:
            ready = wait([worker.connection for worker in self._workers], timeout=1.0)
            for worker in list(self._workers):
                if worker.connection in ready:
                    yield self._collect(worker, waiting)
                elif time.monotonic() - worker.started_s > EPISODE_TIMEOUT_S:
                    self._end(worker)
                    if waiting:
                        self._workers.append(self._start(waiting.popleft()))
                    error = f"the episode took longer than {EPISODE_TIMEOUT_S:.0f} s"
                    yield crashed_result(worker.seed, error, EPISODE_TIMEOUT_S), Latencies()

    def close(self) -> None:
        """End every worker."""
        for worker in list(self._workers):
            self._end(worker)

    def _collect(self, worker: _Worker, waiting: deque[int]) -> tuple[EpisodeResult, Latencies]:
        try:
            answer: tuple[EpisodeResult, Latencies] = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(5.0)
            self._end(worker)
            answer = (
                crashed_result(
                    worker.seed,
                    f"the worker process ended with status {worker.process.exitcode}",
                    time.monotonic() - worker.started_s,
                ),
                Latencies(),
            )
            if waiting:
                self._workers.append(self._start(waiting.popleft()))
            return answer
        if waiting:
            worker.seed, worker.started_s = waiting.popleft(), time.monotonic()
            worker.connection.send(worker.seed)
        else:
            self._end(worker)
        return answer

    def _start(self, seed: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_worker_main, args=(theirs, self._spec, os.getpid()), daemon=False
        )
        with _single_threaded_children():
            process.start()
        theirs.close()
        ours.send(seed)
        return _Worker(process, ours, seed, time.monotonic())

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()  # the worker leaves its loop
        worker.process.join(5.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _pool(spec: EvaluationSpec) -> Iterator[_Pool]:
    pool = _Pool(spec)
    try:
        yield pool
    finally:
        pool.close()


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


def _worker_main(connection: Connection, spec: EvaluationSpec, parent: int) -> None:
    """Run episodes for seeds from the connection until it closes; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    guard.die_with(parent, signal.SIGKILL)
    from physgen_bringup.inprocess import InProcess, make_in_process

    session: InProcess | None = None
    try:
        while True:
            seed: int = connection.recv()
            started = time.monotonic()
            try:
                session = session or make_in_process(spec)
                answer = session.run_episode(seed)
            except (
                Exception
            ) as error:  # whatever the simulator raises costs this episode only, and is reported
                answer = crashed_result(seed, _sentence(error), time.monotonic() - started), Latencies()
                if session is not None and not isinstance(error, UserError):
                    session.close()  # the simulator may be broken: start a new one
                    session = None
            connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        if session is not None:
            session.close()


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
