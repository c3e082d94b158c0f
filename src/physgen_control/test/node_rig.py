# SPDX-License-Identifier: Apache-2.0
"""Nodes under test: real processes in a DDS domain, and a node in the test process that talks to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor


class NodeProbe:
    """A node of the test's own, in a context of its own; a context manager. Subclasses add publishers and readers.

    Args:
        name: the node's name.
        domain: the DDS domain.
        wait_s: how long `wait` waits before it fails [s].
    """

    def __init__(self, name: str, domain: int, wait_s: float = 60.0) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node(name, context=self.context, enable_rosout=False)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._wait_s = wait_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, condition: Callable[[], Any], what: str) -> float:
        """Spin until the condition holds; the seconds that it took. Fails with `what` and what was seen."""
        start = time.monotonic()
        while not condition():
            self.executor.spin_once(timeout_sec=0.05)
            assert time.monotonic() - start < self._wait_s, (
                f"not within {self._wait_s:g} s: {what}{self.seen()}"
            )
        return time.monotonic() - start

    def seen(self) -> str:
        """What a failed `wait` adds to its message."""
        return ""

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def start_node(
    module: str, domain: int, *words: str, options: dict[str, Any] | None = None, **parameters: object
) -> subprocess.Popen[str]:
    """Start a node process in a DDS domain; its stderr is a pipe.

    Args:
        module: what `python -m` runs.
        words: parameters as `name:=value`.
        options: further arguments of Popen.
        parameters: parameters by name.
    """
    given = [*words, *(f"{name}:={value}" for name, value in parameters.items())]
    command = [sys.executable, "-m", module]
    if given:
        command += ["--ros-args", *(word for parameter in given for word in ("-p", parameter))]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, **({"stderr": subprocess.PIPE, "text": True} | (options or {}))
    )


def stop_node(process: subprocess.Popen[str]) -> int:
    """Ask a node process to end (SIGINT), kill it after a minute; its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


@contextmanager
def node_starter(domain: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_node` in a domain; whatever still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        module: str, *words: str, options: dict[str, Any] | None = None, **parameters: object
    ) -> subprocess.Popen[str]:
        processes.append(start_node(module, domain, *words, options=options, **parameters))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
