# SPDX-License-Identifier: Apache-2.0
"""Processes that run episodes of evaluations, each with its own world; where they share one policy, it is here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.episode.shared_policy import PolicyRequest, PolicyServer
from physgen_bringup.episode.tally import crashed_result
from physgen_bringup.processes.process_pool import Done, Lost, ProcessPool
from physgen_bringup.results.results import EpisodeResult, Latencies, Trial
from physgen_control.errors import UserError
from physgen_control.types import ActionChunk

# A first episode includes start-up of simulator and networks; later ones are far faster.
EPISODE_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to run."""

    spec: EvaluationSpec
    trial: Trial
    video: Path | None = None
    """Draw every step and write it there."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a job."""

    job: Job
    episode: EpisodeResult
    latencies: Latencies


class EpisodeWorkers:
    """Runs jobs in at most `workers` processes; one that dies costs its episode, which counts as a crash."""

    def __init__(self, workers: int) -> None:
        self._servers: dict[tuple[Path, int], PolicyServer] = {}
        self._pool: ProcessPool[Job] = ProcessPool(
            workers, run_episodes, job_timeout_s=EPISODE_TIMEOUT_S, serve=self._serve
        )

    def __enter__(self) -> EpisodeWorkers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.close()

    def run(self, jobs: deque[Job]) -> Iterator[JobResult]:
        """Run all jobs; results come in the order in which episodes end. Jobs added meanwhile are run too."""
        for job, answer in self._pool.run(jobs):
            if isinstance(answer, Lost):
                episode = crashed_result(job.trial, answer.sentence, answer.wall_s)
                yield JobResult(job, episode, Latencies())
            else:
                yield JobResult(job, *answer)

    def _serve(self, requests: Mapping[int, tuple[Job, PolicyRequest]]) -> dict[int, ActionChunk | str]:
        """Answer all requests for chunks that came together, in batches."""
        groups: dict[tuple[Path, int], dict[int, PolicyRequest]] = {}
        for number, (job, request) in requests.items():
            assert job.spec.checkpoint is not None
            groups.setdefault((job.spec.checkpoint, job.spec.batch), {})[number] = request
        answers: dict[int, ActionChunk | str] = {}
        for key, group in groups.items():
            answers |= self._servers.setdefault(key, PolicyServer(*key)).answer(group)
        return answers


def run_episodes(connection: Connection) -> None:
    """Run jobs from the connection until it closes; what a worker process does."""
    from physgen_bringup.episode.inprocess import InProcess, Stage

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
            # Whatever the simulator raises costs this episode only, and is reported.
            except Exception as error:  # noqa: BLE001  (a worker's trouble is told to the pool)
                wall_s = time.monotonic() - started
                answer = crashed_result(job.trial, _sentence(error), wall_s), Latencies()
                if not isinstance(error, UserError):
                    stage.close()  # the simulator may be broken: start a new one
                    session = None
            connection.send(Done(answer))
    finally:
        stage.close()


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
