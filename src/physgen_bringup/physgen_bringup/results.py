# SPDX-License-Identifier: Apache-2.0
"""The results file of an evaluation, the same for graph and in-process loop, written after every episode."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.errors import UserError

FORMAT = 1
FILE_NAME = "results.json"
_DISTRIBUTIONS = (
    "torch",
    "numpy",
    "mani_skill",
    "sapien",
    "mujoco",
    "robosuite",
    "hf-libero",
    "ros-rclpy",
    "rosbags",
)
Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class ResultsError(UserError):
    """A results file cannot be read or continued; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One episode. A crash (of simulator or node) is neither success nor failure; error says what happened.

    stale_steps: control steps in which the arm held because no valid action was there. limited_steps: steps
    whose action was changed by a safety limit. wall_s: duration without start-up.
    """

    seed: int
    success: bool
    steps: int
    crashed: bool
    error: str
    wall_s: float
    stale_steps: int
    limited_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What was evaluated and under which rules; two runs compare only when these are equal."""

    suite: str
    task: str
    policy: str
    checkpoint_path: str = ""
    checkpoint_sha256: str = ""
    pace: str
    execution: str
    control_mode: str
    max_steps: int
    success_rule: str
    transport: str  # "in-process" or "ros"
    assets: str = ""  # which scene files, where the simulator does not bring its own


@dataclass(slots=True, kw_only=True)
class Latencies:
    """Wall-clock samples in milliseconds, appended while running."""

    observation_to_chunk: list[float] = field(default_factory=list)
    image_to_command: list[float] = field(default_factory=list)

    def extend(self, other: Latencies) -> None:
        """Add another run's samples."""
        self.observation_to_chunk += other.observation_to_chunk
        self.image_to_command += other.image_to_command

    def samples(self) -> dict[str, list[float]]:
        """Every sample, rounded to 10 microseconds."""
        return {f.name: [round(value, 2) for value in getattr(self, f.name)] for f in fields(self)}

    def to_json(self) -> dict[str, Any]:
        """Percentiles per series; empty series have no numbers (null)."""
        return {f.name: percentiles(getattr(self, f.name)) for f in fields(self)}


@dataclass(slots=True)
class Evaluation:
    """A results file in memory: protocol, episodes so far, latency samples."""

    protocol: Protocol
    episodes: list[EpisodeResult] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)
    environment: dict[str, Any] = field(default_factory=dict)

    def add(self, episode: EpisodeResult) -> None:
        """Add an episode, replacing an earlier one with the same seed; episodes stay sorted by seed."""
        kept = [other for other in self.episodes if other.seed != episode.seed]
        self.episodes = sorted([*kept, episode], key=lambda e: e.seed)

    def missing(self, seeds: Iterable[int]) -> list[int]:
        """Seeds of `seeds` without a finished episode, in order; crashed ones are tried again."""
        finished = {episode.seed for episode in self.episodes if not episode.crashed}
        return [seed for seed in seeds if seed not in finished]

    def to_json(self) -> dict[str, Any]:
        """The whole file as plain values."""
        protocol = asdict(self.protocol)
        path, sha256 = protocol.pop("checkpoint_path"), protocol.pop("checkpoint_sha256")
        return {
            "format": FORMAT,
            **protocol,
            "checkpoint": {"path": path, "sha256": sha256} if path else None,
            "episodes": [asdict(episode) for episode in self.episodes],
            "summary": summarize(self.episodes),
            "latency_ms": self.latencies.to_json(),
            "latency_samples_ms": self.latencies.samples(),
            **self.environment,
        }

    def write(self, folder: Path) -> Path:
        """Write results.json and results.md atomically, so that a kill at any time leaves a complete file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE_NAME
        _write_atomically(path, json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")
        _write_atomically(folder / "results.md", markdown(self))
        return path


def read(path: Path) -> Evaluation:
    """Read and validate a results file.

    Raises:
        ResultsError: unreadable, another format, or missing keys.
    """
    try:
        values = json.loads(path.read_text())
        if values["format"] != FORMAT:
            raise ResultsError(f"{path} has results format {values['format']!r}, this version reads {FORMAT}")
        checkpoint = values["checkpoint"] or {"path": "", "sha256": ""}
        names = {f.name for f in fields(Protocol)} - {"checkpoint_path", "checkpoint_sha256"}
        protocol = Protocol(
            **{name: values[name] for name in names - {"assets"}},
            assets=values.get("assets", ""),
            checkpoint_path=checkpoint["path"],
            checkpoint_sha256=checkpoint["sha256"],
        )
        keys = [f.name for f in fields(EpisodeResult)]
        episodes = [EpisodeResult(**{key: episode[key] for key in keys}) for episode in values["episodes"]]
        environment = {key: values.get(key) for key in ("versions", "machine", "git")}
        samples = values["latency_samples_ms"]
        latencies = Latencies(**{f.name: [float(v) for v in samples[f.name]] for f in fields(Latencies)})
    except ResultsError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(
            f"{path} is not a results file of this project ({error!r}); give another output folder"
        ) from error
    return Evaluation(protocol, episodes, latencies, environment)


def open_evaluation(folder: Path, protocol: Protocol) -> Evaluation:
    """Continue the evaluation in `folder` if there is one, else start a new one.

    Raises:
        ResultsError: the folder holds results of another protocol.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return Evaluation(protocol, environment=describe_environment())
    evaluation = read(path)
    old, new = asdict(evaluation.protocol), asdict(protocol)
    different = [key for key in new if old[key] != new[key]]
    if different:
        key = different[0]
        raise ResultsError(
            f"{folder} holds results with {key} {old[key]!r}, but this run has {new[key]!r}; choose another "
            "output folder"
        )
    return evaluation


def summarize(episodes: Iterable[EpisodeResult]) -> dict[str, Any]:
    """Counts and the Wilson interval over episodes that ran to their end; crashes are counted apart."""
    episodes = list(episodes)
    finished = [episode for episode in episodes if not episode.crashed]
    successes = sum(episode.success for episode in finished)
    low, high = wilson_interval(successes, len(finished))
    return {
        "n": len(finished),
        "successes": successes,
        "success_rate": successes / len(finished) if finished else None,
        "wilson_95": [low, high],
        "crashes": len(episodes) - len(finished),
        "failed_seeds": [episode.seed for episode in finished if not episode.success],
        "crashed_seeds": [episode.seed for episode in episodes if episode.crashed],
        "stale_steps": sum(episode.stale_steps for episode in finished),
        "limited_steps": sum(episode.limited_steps for episode in finished),
        "steps": sum(episode.steps for episode in finished),
    }


def wilson_interval(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a success probability; (0, 1) without any trial."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def percentiles(samples: list[float]) -> dict[str, Any]:
    """p50, p95, p99 and the count; null numbers for an empty list."""
    if not samples:
        return {"p50": None, "p95": None, "p99": None, "count": 0}
    p50, p95, p99 = (round(float(v), 3) for v in np.percentile(samples, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "count": len(samples)}


def describe_environment() -> dict[str, Any]:
    """Versions, machine and git state of this run (nothing that identifies a person or a host)."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "machine": _machine(), "git": _git()}


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "platform": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9, 1),
        "gpu": _gpu(),
    }


def _gpu() -> str | None:
    torch = sys.modules.get("torch")  # never imported only to describe the machine
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(0))


def _git() -> dict[str, Any] | None:
    folder = Path(__file__).resolve().parent

    def run(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return {"commit": run("rev-parse", "HEAD"), "dirty": bool(run("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def markdown(evaluation: Evaluation) -> str:
    """The result as a Markdown table for people; failures and crashes are listed with their seeds."""
    values = evaluation.to_json()
    protocol, summary, latency = evaluation.protocol, values["summary"], values["latency_ms"]
    rate = f"{100 * summary['success_rate']:.1f} %" if summary["n"] else "-"
    low, high = summary["wilson_95"]
    rows = [
        (
            "policy",
            protocol.policy
            + (f" ({Path(protocol.checkpoint_path).name})" if protocol.checkpoint_path else ""),
        ),
        ("through", f"{protocol.transport}, {protocol.pace}, {protocol.execution}"),
        (
            "success",
            f"{summary['successes']} of {summary['n']} = {rate} (95 % {100 * low:.1f} to {100 * high:.1f} %)",
        ),
        ("crashes", str(summary["crashes"])),
        ("success rule", protocol.success_rule),
        ("step limit", str(protocol.max_steps)),
        ("stale steps", f"{summary['stale_steps']} of {summary['steps']}"),
        ("limited steps", f"{summary['limited_steps']} of {summary['steps']}"),
    ]
    for name, numbers in latency.items():
        if numbers["count"]:
            text = f"p50 {numbers['p50']:.1f} ms, p95 {numbers['p95']:.1f} ms, p99 {numbers['p99']:.1f} ms"
            rows.append((name.replace("_", " "), text))
    for key in ("failed_seeds", "crashed_seeds"):
        if summary[key]:
            rows.append((key.replace("_", " "), ", ".join(map(str, summary[key]))))
    lines = [f"# {protocol.suite} {protocol.task}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows]
    lines += ["", "| seed | result | steps | stale | limited | wall s |", "|---|---|---|---|---|---|"]
    for episode in evaluation.episodes:
        lines.append(
            f"| {episode.seed} | {outcome(episode)} | {episode.steps} | {episode.stale_steps} | "
            f"{episode.limited_steps} | {episode.wall_s:.1f} |"
        )
    return "\n".join(lines) + "\n"


def outcome(episode: EpisodeResult) -> str:
    """One word and, for a crash, its sentence."""
    if episode.crashed:
        return f"crash: {episode.error}"
    return "success" if episode.success else "failure"


def progress_line(episodes: Iterable[EpisodeResult], remaining: int) -> str:
    """Running success rate and time left, from the mean wall time so far."""
    episodes = list(episodes)
    summary = summarize(episodes)
    rate = f"{100 * summary['success_rate']:.0f} %" if summary["n"] else "-"
    mean = sum(episode.wall_s for episode in episodes) / max(1, len(episodes))
    crashes = f", {summary['crashes']} crashed" if summary["crashes"] else ""
    left = _duration(mean * remaining)
    return f"success {summary['successes']}/{summary['n']} ({rate}){crashes}, about {left} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
