# SPDX-License-Identifier: Apache-2.0
"""The local runner: starts the graph as processes where ROS 2 is not installed, watches them, stops them all.

Every node is its own process group with its own log. The graph ends when its `ends_with` node exits; a
required node that dies takes the others down in order. Nothing survives the runner, not even when the runner
itself is killed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from physgen_bringup.graph.spec import Graph, NodeSpec, enclave, parameter_files
from physgen_bringup.processes import guard
from physgen_control.errors import UserError
from physgen_control.messages import graph_identity
from physgen_control.program.verbosity import is_verbose
from physgen_control.teleop.terminal import has_terminal

POLL_S = 0.05
# Long enough to close a bag or a simulator, short enough for a person who pressed Ctrl-C.
STOP_GRACE_S = {signal.SIGINT: 8.0, signal.SIGTERM: 2.0, signal.SIGKILL: 5.0}
INTERRUPTED = 130
# A closed terminal sends SIGHUP.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROS_PREFIX = re.compile(r"^\[(?:\w+)\] \[[\d.]+\] \[[^\]]*\]: ")
_IMPORTANT = re.compile(r"^\[(?:WARN|ERROR|FATAL)\]|^Traceback|^\w*Error: |^[Vv]iewer(?:_node)?: ")


@dataclass(slots=True)
class _Process:
    spec: NodeSpec
    popen: subprocess.Popen[str]
    log: Path
    pump: threading.Thread
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=12))


class LocalRunner:
    """Owns the processes of one graph. start() and stop() belong to one thread, the one that lives longest.

    (A node is told when the thread that started it ends, because that is what the kernel watches.)

    Args:
        graph: What to run.
        domain_id: DDS domain of its processes; None: that of the environment.
        console: Prints a line for the user.
        environment: More variables of every process.

    Raises:
        UserError: The graph cannot run here.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        domain_id: int | None = None,
        console: Callable[[str], None] = print,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        missing = [node.name for node in graph.nodes if node.module is None]
        if missing or graph.includes:
            raise UserError(
                f"the local runner cannot start {', '.join(missing) or graph.includes[0].package}, which needs a "
                "full ROS 2 installation; use the Docker image"
            )
        typed = [node.name for node in graph.nodes if node.terminal]
        if typed and not has_terminal():
            raise UserError(
                f"{typed[0]} reads keys, and there is no terminal here; start the graph in a terminal window (or over "
                "`ssh -t`), or without it and `physgen teleop keyboard` elsewhere"
            )
        if os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "OFF":
            raise UserError(
                "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF lets no node find another, so that the graph would wait for ever; "
                "unset it, or set LOCALHOST or SUBNET"
            )
        self.graph = graph
        self.console = console
        self._processes: dict[str, _Process] = {}
        self._environment = _environment(graph, domain_id, environment or {})
        self._reaper: subprocess.Popen[str] | None = None
        self._interrupts = 0

    def start(self) -> None:
        """Start every node; return at once."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for note in self.graph.notes:
            self.console(note)
        self._reaper = subprocess.Popen(
            [sys.executable, "-S", guard.__file__, "reap"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for node in self.graph.nodes:
            self.start_node(node.name)

    def start_node(self, name: str) -> int:
        """Start (or start again) one node and return its process id."""
        spec = self.graph.node(name)
        if name in self._processes:
            self._stop_process(self._processes[name])
        command = node_command(spec, self.graph.output_dir / "parameters")
        log = self._logs / f"{name}.log"
        popen = subprocess.Popen(
            [sys.executable, "-S", guard.__file__, "exec", str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            # Only processes of this POSIX session may read its terminal; they also get its Ctrl-C.
            start_new_session=not spec.terminal,
        )
        self._tell_reaper(f"+{popen.pid}")
        pump = threading.Thread(target=self._pump, args=(name,), daemon=True)
        self._processes[name] = _Process(spec, popen, log, pump)
        pump.start()
        return popen.pid

    def pid(self, name: str) -> int:
        """Return the process id of a started node."""
        return self._processes[name].popen.pid

    def alive(self, name: str) -> bool:
        """Return whether the node's process runs."""
        return self._processes[name].popen.poll() is None

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait until the graph ends and return its exit status; the other nodes still run (call stop).

        A required node that dies first is reported with its last lines of output.

        Raises:
            TimeoutError: It did not end within `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self._interrupts:
                return INTERRUPTED
            for name, process in self._processes.items():
                code = process.popen.poll()
                if code is None:
                    continue
                if name == self.graph.ends_with:
                    return self._finished(process, code)
                if process.spec.required:
                    self._report_death(process, code)
                    return 1
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the graph did not end within {timeout_s} s; logs are in {self._logs}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Stop all nodes in reverse starting order (policy, controller, world) and wait for them."""
        for process in reversed(self._processes.values()):
            self._stop_process(process)
        for process in self._processes.values():
            process.pump.join(timeout=2.0)
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            self._reaper.wait()
            self._reaper = None

    def run(self) -> int:
        """Start, wait, stop; return the exit status. Ctrl-C, SIGTERM and a closed terminal stop cleanly."""
        handlers = {
            number: signal.signal(number, self._on_signal)
            for number in STOP_SIGNALS
            # `nohup` ignores it, so that the graph outlives the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            self.start()
            status = self.wait()
            if status == INTERRUPTED:
                self.console("Stopping (press Ctrl-C again to stop at once).")
            return status
        finally:
            self.stop()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def last_lines(self, name: str) -> list[str]:
        """Return the last lines that a node printed."""
        return list(self._processes[name].tail)

    @property
    def _logs(self) -> Path:
        return self.graph.output_dir / "logs"

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._interrupts += 1

    def _finished(self, process: _Process, code: int) -> int:
        process.pump.join(timeout=2.0)
        if code < 0:
            self._report_death(process, code)
            return 1
        return code

    def _report_death(self, process: _Process, code: int) -> None:
        process.pump.join(timeout=2.0)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        tail = "\n".join(f"    {line}" for line in process.tail)
        self.console(
            f"{process.spec.name} {how}, so the other nodes are stopped; its log is {process.log}"
            + (f", the last lines:\n{tail}" if tail else " (it printed nothing)")
        )

    def _stop_process(self, process: _Process) -> None:
        popen = process.popen
        for number, grace in STOP_GRACE_S.items():
            if popen.poll() is None:
                # The node's group may hold helpers; they are its business until it had its chance.
                _send(popen.pid, number, group=number == signal.SIGKILL and not process.spec.terminal)
                self._wait_for(popen, 0.5 if self._interrupts > 1 else grace)
        if not process.spec.terminal:  # that one shares our own group
            _send(popen.pid, signal.SIGKILL, group=True)  # helpers that outlived their node
        self._tell_reaper(f"-{popen.pid}")

    @staticmethod
    def _wait_for(popen: subprocess.Popen[str], seconds: float) -> None:
        try:
            popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _tell_reaper(self, line: str) -> None:
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.write(line + "\n")
            self._reaper.stdin.flush()

    def _pump(self, name: str) -> None:
        """Copy a node's output to its log and show what matters; one thread per node."""
        process = self._processes[name]
        stream = process.popen.stdout
        if stream is None:
            return
        main_node = name == self.graph.ends_with
        with stream, process.log.open("a") as log:
            _copy_lines(stream, log, process, self.console, main_node)


def _copy_lines(
    stream: IO[str], log: IO[str], process: _Process, console: Callable[[str], None], main_node: bool
) -> None:
    for line in stream:
        log.write(line)
        log.flush()
        text = line.rstrip("\n")
        process.tail.append(text)
        if main_node or is_verbose():
            console(_ROS_PREFIX.sub("", text))
        elif _IMPORTANT.search(text):
            console(f"[{process.spec.name}] {_ROS_PREFIX.sub('', text)}")


def node_command(spec: NodeSpec, folder: Path) -> list[str]:
    """Return the command line of a node; writes its parameters to a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        str(spec.module),
        *spec.arguments,
        "--ros-args",
        *("--enclave", enclave(spec.name)),
        *("-r", f"__node:={spec.name}"),
    ]
    for source, target in spec.remappings:
        command += ["-r", f"{source}:={target}"]
    for path in parameter_files(spec, folder / f"{spec.name}.yaml"):
        command += ["--params-file", str(path)]
    return command


def _environment(graph: Graph, domain_id: int | None, extra: Mapping[str, str]) -> dict[str, str]:
    environment = dict(os.environ)
    # A simulated arm concerns nobody else on the network, unless the user says so.
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name, value in graph.environment.items():
        environment.setdefault(name, value)  # a user's own DDS profile wins, as for two machines
    environment[graph_identity.VARIABLE] = graph_identity.new_graph()
    environment["PYTHONUNBUFFERED"] = "1"
    environment["RCUTILS_COLORIZED_OUTPUT"] = "0"
    environment["ROS_LOG_DIR"] = str(graph.output_dir / "logs" / "ros")
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    environment.update(extra)
    return environment


def _send(pid: int, number: int, *, group: bool) -> None:
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        return
