# SPDX-License-Identifier: Apache-2.0
"""Rows 98 to 104: disk, shared memory and network fail, and what a graph that is ended leaves behind."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from std_msgs.msg import String

from physgen_bringup.chaos.nodes.outcomes import goes_on
from physgen_bringup.chaos.nodes.rig import RECORDER, Rig
from physgen_bringup.chaos.nodes.rows_episodes import episode
from physgen_bringup.chaos.row import FAKE, Measured, NotPossibleError, RowFailedError, make_row, must
from physgen_control.messages import topics
from physgen_control.nodes import qos

ISOLATED_S = 150.0
NAMESPACE = ("unshare", "--map-root-user", "--mount")


class RecorderListener:
    """What the recorder says, as a context manager."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.said: list[tuple[float, dict[str, Any]]] = []

    def __enter__(self) -> RecorderListener:
        node = self.rig.probe.node
        self._subscription = node.create_subscription(
            String, topics.RECORDER_STATUS, self._on_status, qos.LATCHED
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.rig.probe.node.destroy_subscription(self._subscription)

    def _on_status(self, message: Any) -> None:
        try:
            self.said.append((time.monotonic(), json.loads(message.data)))
        except ValueError:
            return

    def wait(self, state: str, since_s: float, timeout_s: float) -> float:
        """Return the seconds until the recorder said this state.

        Raises:
            RowFailedError: It did not in time.
        """

        def found() -> float | None:
            return next((t for t, status in self.said if t >= since_s and status["state"] == state), None)

        try:
            self.rig.probe.wait_for(found, f"the recorder in state {state!r}", timeout_s)
        except RowFailedError as error:
            raise RowFailedError(f"{error}; it said {self.said[-1:] or 'nothing'}") from error
        arrived_s = found()
        assert arrived_s is not None
        return arrived_s - since_s


def recorder_fails(break_it: Callable[[Rig], Callable[[], None]]) -> Callable[[Rig], Measured]:
    """While an episode is recorded its disk fails; the arm must not care, and the next episode is recorded."""

    def inject(rig: Rig) -> Measured:
        probe = rig.probe
        with RecorderListener(rig) as recorder:
            # The row before may have started it a moment ago.
            probe.wait_for(lambda: recorder.said, "a word of the recorder", 30.0)
            begin_s = time.monotonic()
            with episode(rig, 60):
                recorder.wait("recording", begin_s, 15.0)
                mend = break_it(rig)
                try:
                    t0 = time.monotonic()
                    probe.spin(1.0)
                    goes_on(rig, t0)
                    detected = recorder.wait("error", t0, 20.0)
                finally:
                    mend()
            again_s = time.monotonic()
            with episode(rig, 30):
                recorder.wait("recording", again_s, 15.0)
            recorder.wait("ready", time.monotonic() - 3.0, 20.0)
        return Measured(detected, None, "the next episode was recorded")

    return inject


def full_disk(rig: Rig) -> Callable[[], None]:
    """No file of the recorder may grow any more."""
    pid = rig.runner.pid(RECORDER)
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard)) and None


def folder_gone(rig: Rig) -> Callable[[], None]:
    """The folder of the bags is removed."""
    bags = rig.folder / "bags"
    shutil.rmtree(bags)
    return lambda: bags.mkdir(exist_ok=True)


def recorder_killed(rig: Rig) -> Measured:
    """The recorder dies in motion."""
    t0 = time.monotonic()
    rig.kill(RECORDER)
    rig.wait_dead(RECORDER)
    rig.probe.spin(1.0)
    goes_on(rig, t0)
    rig.restart(RECORDER)
    rig.probe.spin(2.0)
    goes_on(rig, t0)
    return Measured()


def isolated(job: str, *wrapper: str) -> Callable[[Rig], Measured]:
    """A graph of its own in namespaces of its own, so that nothing else on this machine is harmed."""

    def inject(rig: Rig) -> Measured:
        need(NAMESPACE, ["true"], "mount namespaces are not allowed here")
        folder = rig.folder / job
        command = [*(wrapper or NAMESPACE), sys.executable, "-m", "physgen_bringup.chaos.nodes.isolated", job]
        try:
            done = subprocess.run(
                [*command, str(folder)], capture_output=True, text=True, timeout=ISOLATED_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RowFailedError(f"{job} did not end within {ISOLATED_S:g} s") from error
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            raise RowFailedError(f"{job} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
        values = json.loads(lines[-1])
        must(not values["failure"], values["failure"])
        return Measured(values["detection_s"], values["rest_s"], values["note"])

    return inject


def need(wrapper: tuple[str, ...], command: list[str], sentence: str) -> None:
    """Check that a command can be run in these namespaces.

    Raises:
        NotPossibleError: It cannot.
    """
    if shutil.which(wrapper[0]) is None:
        raise NotPossibleError(f"{wrapper[0]} is not installed here")
    done = subprocess.run([*wrapper, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossibleError(f"{sentence}: {' '.join(done.stderr.split())}")


def lossy_network(rig: Rig) -> Measured:
    """Every message travels over a loopback that delays and loses packets."""
    wrapper = (*NAMESPACE, "--net")
    netem = "ip link set lo up && tc qdisc add dev lo root netem delay 20ms 5ms loss 2%"
    need(wrapper, ["sh", "-c", netem], "no netem in a network namespace here")
    shell = (*wrapper, "sh", "-c", f'{netem} && exec "$@"', "sh")
    return isolated("lossy", *shell)(rig)


_row = partial(make_row, graphs=(FAKE,))
ROWS = (
    _row(98, "recorder_killed", "the recorder's process is killed in motion", "nobody has to", "the arm goes on",
         (None, None), recorder_killed),
    _row(99, "disk_full", "no file may grow any more while an episode is recorded", topics.RECORDER_STATUS,
         "error; the arm goes on, the next episode is recorded", (15.0, None), recorder_fails(full_disk),
         may_refuse=True),
    _row(100, "bag_folder_removed", "the folder of the bags is removed while an episode is recorded",
         topics.RECORDER_STATUS, "error; the arm goes on, the next episode is recorded", (15.0, None),
         recorder_fails(folder_gone), may_refuse=True),
    _row(101, "shared_memory_full", "/dev/shm has no page left (in a namespace)", "/physgen/hold",
         "no process dies; HOLD until armed again", (0.6, 1.0), isolated("shm_full"), prepared=False),
    _row(102, "graph_interrupted", "Ctrl-C ends a graph in motion", "the signal",
         "every process ends, nothing stays in /dev/shm", (None, 15.0), isolated("SIGINT"), prepared=False, repeats=1),
    _row(103, "terminal_closed", "the terminal of a graph in motion is closed (SIGHUP)", "the signal",
         "every process ends, nothing stays in /dev/shm", (None, 15.0), isolated("SIGHUP"), prepared=False, repeats=1),
    _row(104, "lossy_network", "delay of 20 ms and 2 % loss between all processes", "no action left",
         "HOLD, POLICY_LATE", (1.0, 1.3), lossy_network, prepared=False, repeats=1),
)  # fmt: skip
