# SPDX-License-Identifier: Apache-2.0
"""How many images of two cameras the recorder loses, raw and as JPEG: cameras and recorder in processes of their own.

Every image carries its number in its stamp. What is missing in the finished bag was dropped, wherever that happened.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from mcap.reader import make_reader

from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.errors import UserError
from physgen_control.messages import topics

RECORDER = "physgen_control.nodes.recorder_node"
LOAD = "physgen_bringup.bench.nodes.camera_load_node"
MODES = {"raw": False, "jpeg": True}
START_S = 180.0
SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderBenchmark:
    """One mode; sizes are in 10^6 bytes."""

    mode: str
    width: int
    height: int
    rate_hz: float
    """Images per second and camera."""
    seconds: float
    sent: int
    """Images per camera."""
    recorded: dict[str, int]
    """Images in the bag, by camera."""
    dropped: dict[str, int]
    """Image numbers that are not in the bag, by camera."""
    raw_mb_per_s: float
    bag_mb: float
    bag_mb_per_s: float
    recorder_cpu: float
    """Mean share of one core."""
    recorder_peak_mb: float
    late_ms_p50: float
    """How late the cameras themselves were."""
    late_ms_p99: float
    finish_s: float
    """From the end of the episode to the complete bag."""
    cores: int
    load_before: float
    """Load average of the machine."""
    load_after: float

    @property
    def total_dropped(self) -> int:
        """Dropped images of both cameras together."""
        return sum(self.dropped.values())


def run(
    mode: str, *, folder: Path, width: int, height: int, rate_hz: float, seconds: float
) -> RecorderBenchmark:
    """Record one episode with a recorder of its own; the bag is deleted afterwards.

    Raises:
        UserError: The mode, size or duration cannot be, the disk is too small, or the recorder failed.
    """
    if mode not in MODES:
        raise UserError(f"The mode must be one of {', '.join(MODES)}, got {mode!r}.")
    if seconds <= 0 or rate_hz <= 0 or min(width, height) < 16:
        raise UserError("Duration and rate must be positive and images at least 16 pixels wide and high.")
    need_mb = 2 * width * height * 3 * rate_hz * seconds / 1e6 + 600
    folder.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < need_mb:
        raise UserError(
            f"{folder} has {free_mb:.0f} MB free, {need_mb:.0f} MB are needed: shorten --duration or change --dir."
        )
    load_before = os.getloadavg()[0]
    bags = Path(tempfile.mkdtemp(prefix="bench-recorder-", dir=folder))
    try:
        words = ["source:=real", f"bag_dir:={bags}", f"image_transport:={mode}", "min_free_mb:=0.0"]
        words += [
            f"camera_rate_hz:={float(rate_hz)}",
            f"state_rate_hz:={3 * float(rate_hz)}",
            "queue_mb:=1024.0",
        ]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(30 + os.getpid() % 10)}
        log = (bags / "recorder.log").open("w", encoding="utf-8")
        recorder = subprocess.Popen(
            [sys.executable, "-m", RECORDER, "--ros-args", *[w for word in words for w in ("-p", word)]],
            env=environment,
            stderr=log,
        )
        usage = _Usage(recorder.pid)
        try:
            sent = _load(environment, width, height, rate_hz, seconds)
            cpu, peak_mb = usage.stop()
        except UserError as error:
            log.flush()
            told = (bags / "recorder.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(f"{error} The recorder said last: {told[-1] if told else 'nothing'}") from error
        finally:
            _stop(recorder)
            log.close()
        recorded = {camera: _numbers(Path(sent["bag"]), camera, sent) for camera in topics.CAMERAS}
        size = sum(file.stat().st_size for file in Path(sent["bag"]).glob("*.mcap"))
    finally:
        shutil.rmtree(bags, ignore_errors=True)
    wanted = set(range(sent["frames"]))
    return RecorderBenchmark(
        mode=mode,
        width=width,
        height=height,
        rate_hz=rate_hz,
        seconds=seconds,
        sent=sent["frames"],
        recorded={camera: len(numbers) for camera, numbers in recorded.items()},
        dropped={camera: len(wanted - numbers) for camera, numbers in recorded.items()},
        raw_mb_per_s=2 * width * height * 3 * rate_hz / 1e6,
        bag_mb=size / 1e6,
        bag_mb_per_s=size / 1e6 / seconds,
        recorder_cpu=cpu,
        recorder_peak_mb=peak_mb,
        late_ms_p50=sent["late_ms_p50"],
        late_ms_p99=sent["late_ms_p99"],
        finish_s=sent["finish_s"],
        cores=os.cpu_count() or 1,
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


def table(results: list[RecorderBenchmark]) -> str:
    """Return the results for people."""
    first = results[0]
    lines = [
        f"two cameras {first.width}x{first.height} at {first.rate_hz:g} Hz for {first.seconds:g} s, "
        f"{first.raw_mb_per_s:.0f} MB/s before the recorder; {first.cores} cores, "
        f"load average {first.load_before:.1f} before",
        "  mode   sent  dropped (fixed, wrist)  bag MB/s  recorder CPU  memory MB  cameras late p50/p99 ms  finish s",
    ]
    for r in results:
        lines.append(
            f"  {r.mode:<5} {2 * r.sent:>5}  {r.total_dropped:>7} ({r.dropped['fixed']}, {r.dropped['wrist']})"
            f"{'':<9} {r.bag_mb_per_s:>8.1f}  {r.recorder_cpu:>11.0%}  {r.recorder_peak_mb:>9.0f}"
            f"  {r.late_ms_p50:>12.1f} / {r.late_ms_p99:<8.1f}  {r.finish_s:>7.1f}"
        )
    return "\n".join(lines)


class _Usage:
    """Mean CPU share and peak memory of a process, sampled until `stop`."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._samples: list[tuple[float, float]] = []  # CPU seconds so far, resident MB
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        self._over.set()
        self._thread.join()
        if len(self._samples) < 2:
            return 0.0, 0.0
        spent = np.diff([cpu for cpu, _ in self._samples]) / SAMPLE_S
        busy = spent[spent > 0.02]  # neither the start nor the wait for the cameras
        return float(busy.mean()) if len(busy) else 0.0, max(memory for _, memory in self._samples)

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            try:
                times = self._process.cpu_times()
                self._samples.append((times.user + times.system, self._process.memory_info().rss / 1e6))
            except psutil.Error:
                return


def _load(
    environment: dict[str, str], width: int, height: int, rate_hz: float, seconds: float
) -> dict[str, Any]:
    command = [sys.executable, "-m", LOAD, "--width", str(width), "--height", str(height)]
    command += ["--rate", str(rate_hz), "--seconds", str(seconds)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=START_S + 4 * seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"The recorder did not finish an episode of {seconds:g} s in time.") from error
    if done.returncode != 0:
        raise UserError("The cameras of the benchmark could not finish: see the message above.")
    sent: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return sent


def _numbers(bag: Path, camera: str, sent: dict[str, Any]) -> set[int]:
    """Return the numbers of the images in a bag."""
    names = [topics.image_topic(camera, compressed) for compressed in (False, True)]
    found: set[int] = set()
    for file in bag.glob("*.mcap"):
        with file.open("rb") as handle:
            for _, _, message in make_reader(handle).iter_messages(topics=names, log_time_order=False):
                offset = header_stamp_ns(message.data) - sent["start_ns"]
                found.add(round(offset * sent["rate_hz"] / 1e9))
    return found


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
