# SPDX-License-Identifier: Apache-2.0
"""A graph in its own mount namespace, with a small /dev/shm of its own; prints what it measured as one line of JSON."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil

from physgen_bringup.chaos.nodes import rows_messages, rows_policy
from physgen_bringup.chaos.nodes.rig import open_rig
from physgen_bringup.chaos.row import FAKE, Measured, RowFailedError, must
from physgen_bringup.paths import config_file
from physgen_bringup.processes import guard

SHARED = Path("/dev/shm")
SIZE_MB = 400
LEFT_BYTES = 100_000
"""What stays free in a full /dev/shm [bytes]: less than one image."""


def small_shared_memory() -> None:
    """Mount a /dev/shm that nobody else sees."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(SHARED)], check=True)


def shm_full(folder: Path) -> Measured:
    """Fill /dev/shm in motion, look whether all go on, and stop."""
    filler = SHARED / "chaos_filler"
    with open_rig(FAKE, folder) as rig:
        rig.prepare()
        mark = rig.mark()
        try:
            with filler.open("wb") as stream:
                free = os.statvfs(SHARED)
                os.posix_fallocate(stream.fileno(), 0, free.f_bavail * free.f_frsize - LEFT_BYTES)
            rig.probe.spin(3.0)
            rig.check(mark)
            measured = rows_messages.hold_works(rig)
        finally:
            filler.unlink(missing_ok=True)
        rig.prepare()
        rig.check(mark)
    return measured


def _as_in_a_terminal(parent: int) -> None:
    """End with the parent; hear the signals that a run in the background ignores and hands down."""
    guard.die_with(parent, signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def ended_by(number: signal.Signals) -> Callable[[Path], Measured]:
    """Start `physgen launch`, end it by a signal in motion, and look at what is left."""

    def job(folder: Path) -> Measured:
        shutil.rmtree(folder, ignore_errors=True)  # the log of another run would look like this one's
        words = ["sim:=fake", "task:=FrankaPick-v0", "policy:=expert", "episodes:=50", "record:=true"]
        command = [sys.executable, "-m", "physgen_bringup.cli", "launch", *words, "camera_profile:=96x64x5"]
        me = os.getpid()
        launch = subprocess.Popen(
            [*command, f"output_dir:={folder}"],
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: _as_in_a_terminal(me),
        )
        end_s = time.monotonic() + 90.0
        log = folder / "logs" / "episode_runner_node.log"
        while not (log.exists() and "seed 0" in log.read_text()):
            must(time.monotonic() < end_s, "the graph did not end an episode within 90 s")
            time.sleep(0.2)
        time.sleep(2.0)
        must(launch.poll() is None, "the graph ended by itself")
        family = psutil.Process(launch.pid).children(recursive=True)
        t0 = time.monotonic()
        launch.send_signal(number)
        launch.wait(30.0)
        _, alive = psutil.wait_procs(family, timeout=10.0)
        took = time.monotonic() - t0
        must(not alive, f"{len(alive)} processes outlived the graph")
        # The tracing library that ROS is linked with keeps a page per user for ever.
        left = sorted(path.name for path in SHARED.iterdir() if not path.name.startswith("lttng-ust-wait"))
        must(not left, f"{len(left)} files stay in /dev/shm: {', '.join(left[:4])}")
        return Measured(None, took, "the time is that until the last process was gone")

    return job


def lossy(folder: Path) -> Measured:
    """A silent policy, where everything travels by UDP."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / "udp_only.xml"
    uses_shared_memory = "            <transport_id>physgen_shared_memory</transport_id>\n"
    profile.write_text(config_file("fastdds.xml").read_text().replace(uses_shared_memory, ""))
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ[name] = str(profile)
    with open_rig(FAKE, folder) as rig:
        rig.prepare()
        return rows_policy.silent(rig)


JOBS: dict[str, Callable[[Path], Measured]] = {
    "shm_full": shm_full,
    "SIGINT": ended_by(signal.SIGINT),
    "SIGHUP": ended_by(signal.SIGHUP),
    "lossy": lossy,
}


def main() -> int:
    """Run the job that is named first, in the folder that is named second."""
    guard.die_with(os.getppid(), signal.SIGTERM)  # no graph outlives the run that asked for it
    small_shared_memory()
    failure, measured = "", Measured()
    try:
        measured = JOBS[sys.argv[1]](Path(sys.argv[2]))
    except RowFailedError as error:
        failure = str(error)
    sys.stdout.write(json.dumps(asdict(measured) | {"failure": failure}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
