# SPDX-License-Identifier: Apache-2.0
"""The results file of an evaluation, the same for graph and in-process loop, written after every episode."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from physgen_bringup.results.provenance import describe_environment
from physgen_bringup.results.whole_file import write_atomically
from physgen_control.errors import UserError
from physgen_control.program.plain_values import build, convert, read_json_object

FORMAT = 1
FILE_NAME = "results.json"
Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class ResultsError(UserError):
    """A results file cannot be read or continued; the text is one sentence that says why."""


class Trial(NamedTuple):
    """What makes one episode of a task: the world's seed, its stored initial state (-1: none), the policy's run.

    Two trials with the same seed and initial state start alike; `run` seeds the policy's own randomness.
    """

    seed: int
    init_state: int = -1
    run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One episode, as its trial. A crash (of simulator or node) is neither success nor failure."""

    seed: int
    success: bool
    steps: int
    crashed: bool
    error: str
    """What happened at a crash."""
    wall_s: float
    """Duration without start-up."""
    stale_steps: int
    """Hold steps: control steps in which no valid action was there."""
    limited_steps: int
    """Control steps whose action was changed by a limit."""
    init_state: int = -1
    run: int = 0

    @property
    def trial(self) -> Trial:
        """Which trial it was."""
        return Trial(self.seed, self.init_state, self.run)


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
    transport: str
    """"in-process" or "ros"."""
    preset: str = ""
    """Name of the published protocol it follows, "" for none."""
    delay_steps: int = 0
    """Control steps by which every chunk is late (pace realtime, in-process)."""
    lead_steps: int = 0
    """Control steps by which pipelined execution asks early."""
    batch: int = 0
    """Rows of a shared batched inference, 0 when every worker has its own policy."""
    assets: str = ""
    """Which scene files, where the simulator does not bring its own."""
    perturbation: str = ""
    """What was changed of the world, such as camera:3; "" for nothing."""
    perturbation_list: str = ""
    """SHA-256 of the frozen list of variants that the change is from."""


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
        """Return every sample, rounded to 10 microseconds."""
        return {f.name: [round(value, 2) for value in getattr(self, f.name)] for f in fields(self)}

    def to_json(self) -> dict[str, Any]:
        """Return percentiles per series; empty series have no numbers (null)."""
        return {f.name: percentiles(getattr(self, f.name)) for f in fields(self)}


@dataclass(slots=True)
class Evaluation:
    """A results file in memory: protocol, episodes so far, latency samples."""

    protocol: Protocol
    episodes: list[EpisodeResult] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)
    environment: dict[str, Any] = field(default_factory=dict)

    def add(self, episode: EpisodeResult) -> None:
        """Add an episode, replacing an earlier one of the same trial; episodes stay sorted by trial."""
        kept = [other for other in self.episodes if other.trial != episode.trial]
        self.episodes = sorted([*kept, episode], key=lambda e: e.trial)

    def missing(self, seeds: Iterable[int]) -> list[int]:
        """Return the seeds of `seeds` without a finished episode, in order; crashed ones are tried again."""
        return [trial.seed for trial in self.missing_trials(Trial(seed) for seed in seeds)]

    def missing_trials(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return those of `trials` without a finished episode, in order; crashed ones are tried again."""
        finished = {episode.trial for episode in self.episodes if not episode.crashed}
        return [trial for trial in trials if trial not in finished]

    def to_json(self) -> dict[str, Any]:
        """Return the whole file as plain values."""
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
        write_atomically(path, json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")
        write_atomically(folder / "results.md", markdown(self))
        return path


def read(path: Path) -> Evaluation:
    """Read and validate a results file.

    Raises:
        ResultsError: Unreadable, another format, or missing keys.
    """
    try:
        values = read_json_object(path, ResultsError)
        if values["format"] != FORMAT:
            raise ResultsError(f"{path} has results format {values['format']!r}, this version reads {FORMAT}")
        checkpoint = values["checkpoint"] or {"path": "", "sha256": ""}
        rules = [f for f in fields(Protocol) if f.name not in ("checkpoint_path", "checkpoint_sha256")]
        given = {"checkpoint_path": checkpoint["path"], "checkpoint_sha256": checkpoint["sha256"]}
        protocol = build(Protocol, _known(rules, values) | given, f"{path}: protocol", ResultsError)
        columns = fields(EpisodeResult)
        episodes = [
            build(EpisodeResult, _known(columns, episode), f"{path}: episode", ResultsError)
            for episode in values["episodes"]
        ]
        environment = {key: values.get(key) for key in ("versions", "machine", "git")}
        samples = values["latency_samples_ms"]
        series = {f.name: convert(tuple[float, ...], samples[f.name], f.name) for f in fields(Latencies)}
        latencies = Latencies(**{name: list(numbers) for name, numbers in series.items()})
    except ResultsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ResultsError(
            f"{path} is not a results file of this project ({error!r}); give another output folder"
        ) from error
    return Evaluation(protocol, episodes, latencies, environment)


def _known(columns: Iterable[Field[Any]], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the columns; one that an older file does not have yet keeps its default."""
    return {c.name: values[c.name] for c in columns if c.name in values or c.default is MISSING}


def open_evaluation(folder: Path, protocol: Protocol) -> Evaluation:
    """Continue the evaluation in `folder` if there is one, else start a new one.

    Raises:
        ResultsError: The folder holds results of another protocol.
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
    """Return counts and the Wilson interval over episodes that ran to their end; crashes are counted apart."""
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
    """Return the Wilson score interval of a success probability; (0, 1) without any trial."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def percentiles(samples: list[float]) -> dict[str, Any]:
    """Return p50, p95, p99 and the count; null numbers for an empty list."""
    if not samples:
        return {"p50": None, "p95": None, "p99": None, "count": 0}
    p50, p95, p99 = (round(float(v), 3) for v in np.percentile(samples, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "count": len(samples)}


def markdown(evaluation: Evaluation) -> str:
    """Return the result as a Markdown table for people; failures and crashes are listed with their seeds."""
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
        ("through", f"{protocol.transport}, {pace_text(protocol)}, {protocol.execution}"),
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
            rows.append((key.replace("_", " "), ", ".join(map(str, dict.fromkeys(summary[key])))))
    lines = [f"# {protocol.suite} {protocol.task}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows]
    if protocol.perturbation:
        variants = protocol.perturbation_list[:12]
        lines.insert(5, f"| perturbation | {protocol.perturbation}, list {variants} |")
    if protocol.preset:
        lines.insert(5, f"| protocol | {protocol.preset} |")
    lines += ["", "| seed | result | steps | stale | limited | wall s |", "|---|---|---|---|---|---|"]
    for episode in evaluation.episodes:
        lines.append(
            f"| {trial_text(episode.trial)} | {outcome(episode)} | {episode.steps} | {episode.stale_steps} | "
            f"{episode.limited_steps} | {episode.wall_s:.1f} |"
        )
    return "\n".join(lines) + "\n"


def pace_text(protocol: Protocol) -> str:
    """Return the pace, with the delay where there is one."""
    if not protocol.delay_steps:
        return protocol.pace
    return f"{protocol.pace} with chunks {protocol.delay_steps} control steps late"


def trial_text(trial: Trial) -> str:
    """Return the seed, with the initial state and the run where there are any: `7`, `7/i3`, `7/r1`."""
    state = f"/i{trial.init_state}" if trial.init_state >= 0 else ""
    return f"{trial.seed}{state}" + (f"/r{trial.run}" if trial.run else "")


def outcome(episode: EpisodeResult) -> str:
    """Return one word and, for a crash, its sentence."""
    if episode.crashed:
        return f"crash: {episode.error}"
    return "success" if episode.success else "failure"


def progress_line(episodes: Iterable[EpisodeResult], remaining: int) -> str:
    """Return the running success rate and the time left, from the mean wall time so far."""
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
