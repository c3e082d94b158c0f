# SPDX-License-Identifier: Apache-2.0
"""Runs a training configuration in several gloo processes, as a launcher would start them; for tests."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path

TIMEOUT_S = 240.0


def train_in_processes(config: Path, processes: int) -> None:
    """Run to the end.

    Raises:
        RuntimeError: a process failed or did not end in time.
    """
    # Not a fork server: that would outlive the test, and later tests count what is left running.
    context = multiprocessing.get_context("spawn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        context.Process(target=_train, args=(config, rank, processes, port)) for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(TIMEOUT_S)
    for process in started:
        if process.is_alive():
            process.kill()
            process.join()
    if any(process.exitcode != 0 for process in started):
        raise RuntimeError(f"exit codes {[process.exitcode for process in started]}")


def _train(config: Path, rank: int, processes: int, port: int) -> None:
    """What each process does: the environment of torch's launcher, then the run."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    from physgen_policy.training.config import load_config
    from physgen_policy.training.run import TrainingRun

    TrainingRun(load_config(config), resume=False).fit()
