# SPDX-License-Identifier: Apache-2.0
"""Processes that record demonstrations, each with its own world and expert."""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from physgen_bringup.collection.run import CollectedEpisode, Collector, make_collector
from physgen_bringup.processes.process_pool import Done, Lost
from physgen_sim_bridge.disturbance import DisturbanceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorOptions:
    """What `physgen_bringup.collection.run.make_collector` takes."""

    suite: str
    task: str
    tail_steps: int
    disturbance: DisturbanceConfig
    leader: Path | None
    led_chunks: int
    picture_every: int


@dataclass(frozen=True, slots=True)
class CollectionJob:
    """One episode to record into a folder; all jobs of a pool have the same options."""

    options: CollectorOptions
    seed: int
    folder: Path


def record_episodes(connection: Connection) -> None:
    """Record jobs from the connection until it closes; what a worker process does."""
    os.environ.setdefault("LP_NUM_THREADS", "1")
    collector: Collector | None = None
    while True:
        job: CollectionJob = connection.recv()
        answer: CollectedEpisode | Lost
        try:
            if collector is None:
                collector = _make(job.options)
            answer = collector.collect(job.seed, job.folder)
        # Whatever the simulator raises costs this episode only, and is reported.
        except Exception as error:  # noqa: BLE001  (a worker's trouble is told to the pool)
            answer, collector = Lost(str(error) or type(error).__name__, 0.0), None
        connection.send(Done(answer))


def _make(options: CollectorOptions) -> Collector:
    return make_collector(
        options.suite,
        options.task,
        tail_steps=options.tail_steps,
        disturbance=options.disturbance,
        leader=options.leader,
        led_chunks=options.led_chunks,
        picture_every=options.picture_every,
    )
