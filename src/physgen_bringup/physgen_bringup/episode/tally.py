# SPDX-License-Identifier: Apache-2.0
"""Counts one episode from what is seen of it: steps, holds, limited actions, latencies, the applied actions.

ROS-free; the episode runner feeds it from topics, the in-process loop from its own values, so both count
alike.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physgen_bringup.results.results import EpisodeResult, Latencies, Trial
from physgen_control.types import ActionChunk, AppliedAction, Episode, EpisodePhase, Limit, Source

# Observations whose answer is still awaited; older ones can no longer matter.
_PENDING = 256


@dataclass(slots=True)
class EpisodeTally:
    """What happened in one episode; times are seconds of one monotonic wall clock.

    Latencies are measured where the tally is fed: from the moment an observation is available to the moment
    its chunk, and the first action of that chunk, are. Simulated time stands still in between, so ROS stamps
    cannot tell them.
    """

    started_s: float
    actions: dict[int, AppliedAction] = field(default_factory=dict)
    """Applied actions by step."""
    latencies: Latencies = field(default_factory=Latencies)
    _observed: OrderedDict[int, float] = field(default_factory=OrderedDict)
    _chunk_seen: dict[tuple[str, int], float] = field(default_factory=dict)

    def observed(self, stamp_ns: int, wall_s: float) -> None:
        """Note that an observation with this acquisition stamp is available; repetitions change nothing."""
        self._observed.setdefault(stamp_ns, wall_s)
        while len(self._observed) > _PENDING:
            self._observed.popitem(last=False)

    def chunk(self, chunk: ActionChunk, wall_s: float) -> None:
        """Note that a chunk was produced."""
        available = self._observed.get(chunk.observation_stamp_ns)
        if available is not None:
            self.latencies.observation_to_chunk.append(1e3 * (wall_s - available))
            self._chunk_seen[chunk.session_id, chunk.chunk_seq] = available

    def applied(self, action: AppliedAction, wall_s: float) -> None:
        """Note that an action was applied; repetitions of a step change nothing."""
        if action.step in self.actions:
            return
        self.actions[action.step] = action
        available = self._chunk_seen.pop((action.session_id, action.chunk_seq), None)
        if available is not None and action.source == Source.POLICY:
            self.latencies.image_to_command.append(1e3 * (wall_s - available))

    @property
    def complete_steps(self) -> int:
        """Return the number of steps from 0 without a gap."""
        count = 0
        while count in self.actions:
            count += 1
        return count

    def result(self, episode: Episode, wall_s: float) -> EpisodeResult:
        """Return the result of the episode in its terminal phase."""
        crashed = episode.phase not in (EpisodePhase.SUCCESS, EpisodePhase.FAILURE)
        done = [action for action in self.actions.values() if action.step < episode.step]
        return EpisodeResult(
            seed=episode.seed,
            success=episode.phase is EpisodePhase.SUCCESS,
            steps=episode.step,
            crashed=crashed,
            error=(episode.detail or f"ended in phase {episode.phase.name}") if crashed else "",
            wall_s=round(wall_s - self.started_s, 3),
            stale_steps=sum(action.source == Source.HOLD for action in done),
            limited_steps=sum(action.limits != Limit.NONE for action in done),
        )

    def save(self, path: Path, num_steps: int) -> None:
        """Write the applied actions of the first `num_steps` steps, in order, as a .npz of plain arrays."""
        rows = [self.actions[step] for step in sorted(self.actions) if step < num_steps]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            step=np.array([a.step for a in rows], np.int64),
            source=np.array([a.source for a in rows], np.uint8),
            limits=np.array([int(a.limits) for a in rows], np.uint32),
            raw=np.array([a.raw for a in rows], np.float32),
            applied=np.array([a.applied for a in rows], np.float32),
        )


def crashed_result(trial: Trial | int, error: str, wall_s: float, steps: int = 0) -> EpisodeResult:
    """Return the result of an episode, given by its trial or its seed, that could not be run to its end."""
    trial = Trial(trial) if isinstance(trial, int) else trial
    return EpisodeResult(
        **trial._asdict(),
        success=False,
        steps=steps,
        crashed=True,
        error=error,
        wall_s=round(wall_s, 3),
        stale_steps=0,
        limited_steps=0,
    )


def actions_path(output_dir: Path, trial: Trial | int) -> Path:
    """Return where the applied actions of an episode, given by its trial or its seed, are saved."""
    return output_dir / "actions" / f"{file_stem(trial)}.npz"


def file_stem(trial: Trial | int) -> str:
    """Return the name of an episode's files without suffix: `seed_7`, `seed_7_init_3_run_1`."""
    trial = Trial(trial) if isinstance(trial, int) else trial
    state = f"_init_{trial.init_state}" if trial.init_state >= 0 else ""
    return f"seed_{trial.seed}{state}" + (f"_run_{trial.run}" if trial.run else "")
