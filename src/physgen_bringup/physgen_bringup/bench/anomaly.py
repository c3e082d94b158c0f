# SPDX-License-Identifier: Apache-2.0
"""How well the prediction error tells that something happened: ROC areas over episodes with an event and without.

A policy runs in-process, and after every chunk imagines the frame that it expects at the next one. The error of a
frame right after an event is compared with the errors of all frames of undisturbed episodes of the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.episode.inprocess import InProcess, armed_controller
from physgen_bringup.episode.sources import PolicySource
from physgen_bringup.episode.stamped_observation import StampedObservation
from physgen_control.errors import UserError
from physgen_control.types import HORIZON, ActionChunk, Episode
from physgen_sim_bridge.perturbation.event import Event, EventWorld
from physgen_sim_bridge.registry import make_world
from physgen_sim_bridge.world import World

if TYPE_CHECKING:
    from physgen_policy.runtime.policy import PhysGenPolicy
    from physgen_policy.runtime.prediction_error import PredictionError

SCORES = ("fixed worst", "fixed mean", "wrist worst", "wrist mean")
"""The errors of a frame that are looked at."""
MAIN = SCORES[0]


@dataclass(slots=True)
class Anomalies:
    """Errors of frames [levels of 255], one row per frame, one column per score."""

    normal: list[list[float]] = field(default_factory=list)
    """Of episodes in which nothing happened."""
    after: dict[str, list[list[float]]] = field(default_factory=dict)
    """Of the frame right after an event, by its kind."""
    missed: dict[str, int] = field(default_factory=dict)
    """Episodes in which the event could not happen, or that ended before the next frame."""

    def values(self) -> dict[str, Any]:
        """Return everything as plain values, with the ROC area of every kind and score."""
        columns = np.array(self.normal).reshape(-1, len(SCORES))
        quantiles = {
            name: {"median": float(np.median(column)), "p99": float(np.quantile(column, 0.99))}
            for name, column in zip(SCORES, columns.T, strict=True)
        }
        events = {}
        for kind, rows in self.after.items():
            found = np.array(rows).reshape(-1, len(SCORES))
            areas = {
                name: roc_area(columns[:, n], found[:, n]) if len(found) else None
                for n, name in enumerate(SCORES)
            }
            events[kind] = {
                "frames": len(found),
                "missed": self.missed[kind],
                "roc_area": areas,
                "errors": rows,
            }
        return {
            "format": 1,
            "scores": list(SCORES),
            "normal": {"frames": len(columns), "quantiles": quantiles, "errors": self.normal},
            "events": events,
        }


def roc_area(normal: ArrayLike, events: ArrayLike) -> float:
    """Return the probability that the error of an event is above that of a normal frame; equal ones count half.

    Raises:
        ValueError: One of the two is empty.
    """
    a, b = np.asarray(normal, np.float64), np.asarray(events, np.float64)
    if not a.size or not b.size:
        raise ValueError("an ROC area needs normal frames and events")
    return float((b[:, None] > a).mean() + 0.5 * (b[:, None] == a).mean())


class _WatchingSource(PolicySource):
    """A policy that imagines after every chunk; `errors` has one row per chunk of the episode, None where unknown."""

    def __init__(self, policy: PhysGenPolicy, period_ns: int) -> None:
        super().__init__(policy, period_ns)
        self._watched = policy
        self.errors: list[list[float] | None] = []

    def reset(self, episode: Episode, run: int = 0) -> None:
        """Start an episode."""
        self.errors = []
        super().reset(episode, run)

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Predict and imagine when an observation is due."""
        chunk = super().observe(stamped, step, active)
        if chunk is not None:
            self._watched.predict_frame()
            self.errors.append(_row(self._watched.prediction_errors))
        return chunk


def _row(errors: tuple[PredictionError, ...]) -> list[float] | None:
    return [value for view in errors for value in (view.worst, view.mean)] if errors else None


def measure(
    spec: EvaluationSpec,
    policy: PhysGenPolicy,
    kinds: Sequence[str],
    *,
    done: Callable[[str], None] = lambda _: None,
    world: World | None = None,
) -> Anomalies:
    """Run every trial without an event and with one of each kind.

    Args:
        spec: Task, trials and rules.
        policy: What acts and imagines.
        kinds: Of events, see physgen_sim_bridge.perturbation.event.
        done: Told after every episode what it was.
        world: Where it happens, closed at the end; None: the task's own.

    Raises:
        UserError: World or policy cannot be used, or every episode is too short to expect anything.
    """
    bare = world or make_world(spec.sim, spec.task, render=True)
    source = _WatchingSource(policy, bare.spec.control_period_ns)
    found = Anomalies(after={kind: [] for kind in kinds}, missed=dict.fromkeys(kinds, 0))
    try:
        for trial in spec.trials:
            normal = _episode(bare, spec, source, trial.seed)
            done(f"seed {trial.seed}, undisturbed")
            found.normal += [row for row in normal if row is not None]
            for kind in kinds:
                _with_event(found, bare, spec, source, kind, trial.seed, len(normal))
                done(f"seed {trial.seed}, {kind}")
    finally:
        bare.close()
    if not found.normal:
        raise UserError(f"no episode of {spec.task} was longer than one chunk, so nothing was expected")
    return found


def _with_event(
    found: Anomalies,
    bare: World,
    spec: EvaluationSpec,
    source: _WatchingSource,
    kind: str,
    seed: int,
    chunks: int,
) -> None:
    """Run an episode whose event comes in the middle of a chunk; add the error of the observation that shows it."""
    if chunks < 2:
        found.missed[kind] += 1
        return
    # What has to be held slips late in an episode.
    first = (chunks - 1) // 2 if kind == "object_slipped" else 0
    chunk = int(np.random.default_rng((seed, 1)).integers(first, chunks - 1))
    changed = EventWorld(bare, Event(kind, chunk * HORIZON + HORIZON // 2))
    errors = _episode(changed, spec, source, seed)
    row = errors[chunk + 1] if changed.happened and len(errors) > chunk + 1 else None
    if row is None:
        found.missed[kind] += 1
    else:
        found.after[kind].append(row)


def _episode(
    world: World, spec: EvaluationSpec, source: _WatchingSource, seed: int
) -> list[list[float] | None]:
    InProcess(world, armed_controller(spec), source, max_steps=spec.max_steps).run_episode(seed)
    return list(source.errors)


def policy_for(checkpoint: Path, spec: EvaluationSpec, robot: str, period_s: float) -> PhysGenPolicy:
    """Return a checkpoint's policy, warmed up, with the default parameters of the policy node.

    Raises:
        UserError: The checkpoint cannot be used for the task.
    """
    from physgen_policy.contract.embodiment_check import GraphDescription
    from physgen_policy.runtime.loading import load_policy
    from physgen_policy.runtime.policy_config import PolicyConfig

    graph = GraphDescription(control_period=period_s, task=spec.task, robot=robot)
    policy = load_policy(str(checkpoint), graph, PolicyConfig())
    policy.warm_up(imagine=True)
    return policy


def table(values: Mapping[str, Any]) -> str:
    """The result for people."""
    normal = values["normal"]
    lines = [
        f"{values['task']}, {values['checkpoint']}: errors of {normal['frames']} expected frames without an event, "
        "levels of 255",
        *(
            f"  {name:<14} median {q['median']:5.1f}, 99th percentile {q['p99']:5.1f}"
            for name, q in normal["quantiles"].items()
        ),
        "area under the ROC curve, frame after the event against undisturbed frames",
        f"  {'':<16}{'frames':>7}{'missed':>7}" + "".join(f"{name:>13}" for name in SCORES),
    ]
    for kind, event in values["events"].items():
        areas = (event["roc_area"][name] for name in SCORES)
        cells = "".join(f"{area:13.3f}" if area is not None else f"{'':>13}" for area in areas)
        lines.append(f"  {kind:<16}{event['frames']:>7}{event['missed']:>7}{cells}")
    return "\n".join(lines)


def draw(values: Mapping[str, Any], path: Path) -> None:
    """Draw the ROC curves of the main score (PNG)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    column = SCORES.index(MAIN)
    normal = np.array(values["normal"]["errors"])[:, column]
    for kind, event in values["events"].items():
        if not event["frames"]:
            continue
        errors = np.array(event["errors"])[:, column]
        limits = np.unique(np.concatenate([normal, errors, [-np.inf, np.inf]]))[::-1]
        alarms = [[float((values_ >= limit).mean()) for limit in limits] for values_ in (normal, errors)]
        axes.plot(*alarms, label=f"{kind.replace('_', ' ')}, area {event['roc_area'][MAIN]:.2f}")
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.set(
        xlabel="false alarms, share of undisturbed frames", ylabel="events found", xlim=(0, 1), ylim=(0, 1.01)
    )
    axes.legend(loc="lower right", frameon=False)
    axes.set_title(
        f"{values['task']}, {values['checkpoint']}: error of the expected frame, {MAIN}", fontsize=9
    )
    figure.savefig(path, dpi=120, bbox_inches="tight")


def spec_for(sim: str, task: str, checkpoint: Path, episodes: int, seed: int) -> EvaluationSpec:
    """Return what is evaluated: trials of the task's own length."""
    return EvaluationSpec(
        sim=sim,
        task=task,
        policy="physgen",
        checkpoint=checkpoint,
        episodes=episodes,
        seed=seed,
        max_steps=0,
        out=Path("runs") / "bench",
        workers=1,
    )
