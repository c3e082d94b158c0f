# SPDX-License-Identifier: Apache-2.0
"""Which DDS domain a graph runs in: the user's, or one that nobody else has; never one that holds another graph."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from physgen_control.errors import UserError
from physgen_control.program.user_folder import user_folder

VARIABLE = "ROS_DOMAIN_ID"
HEARD_STATUS = 3
"""With which the heartbeat probe says that a graph answers."""
LAST_DOMAIN = 232
"""RTPS ports of higher ones do not exist."""
PRIVATE_DOMAINS = range(70, 102)
"""Domains whose UDP ports stay below Linux' ephemeral range; the low ones are left to people."""


def chosen_domain(environment: Mapping[str, str]) -> int | None:
    """Return the domain that the user chose by ROS_DOMAIN_ID; None if none was.

    Raises:
        UserError: It is no domain.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > LAST_DOMAIN:
        raise UserError(
            f"{VARIABLE} must be an integer from 0 to {LAST_DOMAIN}, got {text!r}: `export {VARIABLE}=0`, or unset it"
        )
    return int(text)


@dataclass(frozen=True, slots=True)
class RunningGraph:
    """A graph that the local runner holds on this computer."""

    domain: int
    """Its DDS domain."""
    output_dir: str
    """Its folder; empty where it has none."""


def running_graphs() -> list[RunningGraph]:
    """Return the graphs that run on this computer under this user, by domain."""
    graphs = []
    for note in user_folder("domains").glob("*.json"):
        lock = FileLock(note.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            graphs.append(RunningGraph(int(note.stem), _output_dir(note)))
        else:
            lock.release()  # its owner was killed
    return sorted(graphs, key=lambda graph: graph.domain)


def join_running_graph(environment: Mapping[str, str]) -> int | None:
    """Return the domain of the one graph that runs here, for a program that belongs beside it.

    None where the user chose a domain, or no graph runs here: then it is that of the environment.

    Raises:
        UserError: Several graphs run.
    """
    if chosen_domain(environment) is not None:
        return None
    graphs = running_graphs()
    if len(graphs) > 1:
        listed = ", ".join(f"{graph.domain} ({graph.output_dir})" for graph in graphs)
        raise UserError(f"several graphs run on this computer; choose one by {VARIABLE}: {listed}")
    return graphs[0].domain if graphs else None


@contextmanager
def graph_domain(output_dir: Path, transport: Mapping[str, str], say: Callable[[str], None]) -> Iterator[int]:
    """Hold a domain for a graph: the user's, or a private one; `say` is told which.

    Args:
        output_dir: The graph's folder, by which people tell it from others.
        transport: Environment variables of its middleware.
        say: Prints a line.

    Raises:
        UserError: In the user's domain another graph answers, or no private domain is free.
    """
    chosen = chosen_domain(os.environ)
    if chosen is None:
        with PrivateDomain(output_dir) as domain:
            say(
                f"DDS domain {domain}, which is this graph's own; to look at it from another terminal: "
                f"export {VARIABLE}={domain}"
            )
            yield domain
        return
    lock = _lock(chosen, output_dir)
    if lock is None:
        raise UserError(second_graph(chosen))
    try:
        refuse_second_graph(chosen, transport)
        say(f"DDS domain {chosen}, as {VARIABLE} says")
        yield chosen
    finally:
        lock.release()


def second_graph(domain: int) -> str:
    """Return the sentence for a graph in a domain that has one."""
    return (
        f"another graph runs in DDS domain {domain}, and two would take each other's messages; stop it, or give this "
        f"one a domain of its own: export {VARIABLE}=N with N from 0 to {LAST_DOMAIN}"
    )


def refuse_second_graph(domain: int, transport: Mapping[str, str]) -> None:
    """Listen for the heartbeats of another graph's nodes, on this computer or another one.

    Args:
        domain: Where to listen.
        transport: Environment variables of the graph's middleware; those of this process win.

    Raises:
        UserError: One answers, or nobody can listen there.
    """
    # A process of its own: the middleware reads its variables once.
    done = subprocess.run(
        [sys.executable, "-m", "physgen_bringup.nodes.heartbeat_probe", str(domain)],
        env={"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **transport, **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == HEARD_STATUS:
        raise UserError(second_graph(domain))
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"DDS domain {domain} cannot be listened to: {last}")


class PrivateDomain:
    """A DDS domain that no other graph of this computer uses; hold it as a context manager.

    A lock file keeps other runners out, a look at the domain's UDP port keeps everybody else's domains free.
    """

    def __init__(self, output_dir: Path | str = "") -> None:
        self._output_dir = output_dir
        self._lock: FileLock | None = None

    def __enter__(self) -> int:
        """Choose and lock a domain; return it.

        Raises:
            UserError: All are taken.
        """
        candidates = list(PRIVATE_DOMAINS)
        random.Random(os.getpid()).shuffle(candidates)
        for domain in candidates:
            lock = _lock(domain, self._output_dir)
            if lock is None:
                continue
            if _is_quiet(domain):
                self._lock = lock
                return domain
            lock.release()
        raise UserError(
            f"no free DDS domain was found (70 to 101); stop other graphs or set {VARIABLE} yourself"
        )

    def __exit__(self, *_: object) -> None:
        """Give the domain back."""
        if self._lock is not None:
            self._lock.release()


def _lock(domain: int, output_dir: Path | str) -> FileLock | None:
    """Take a domain among the runners of this user; None if another one has it."""
    folder = user_folder("domains")
    lock = FileLock(folder / f"{domain}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    (folder / f"{domain}.json").write_text(json.dumps({"output_dir": str(output_dir)}), encoding="utf-8")
    return lock


def _output_dir(note: Path) -> str:
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["output_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown folder"


def _is_quiet(domain: int) -> bool:
    # RTPS: unicast discovery port of the first participant of a domain.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7410 + 250 * domain))
        except OSError:
            return False
    return True
