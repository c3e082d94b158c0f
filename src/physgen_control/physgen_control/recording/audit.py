# SPDX-License-Identifier: Apache-2.0
"""Judge a recorded episode: counts, gaps and missing topics, as warnings in words and as one JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from physgen_control.messages.topics import RecordedTopic

GAP_FACTOR = 1.5
"""A stamp difference above this multiple of the median is a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The check of a recording at the end of its episode."""

    counts: dict[str, int]
    """Messages by topic."""
    gaps: dict[str, float]
    """Largest stamp difference [s] by topic."""
    warnings: tuple[str, ...]
    """What is wrong, one sentence each."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.warnings

    def to_json(self) -> str:
        """Return the audit as it is stored in the bag's metadata."""
        return json.dumps({**asdict(self), "complete": self.complete})


def audit_episode(
    recorded: Sequence[RecordedTopic],
    counts: Mapping[str, int],
    stamps: Mapping[str, Sequence[int]],
    applied_steps: Sequence[int],
    steps: int,
) -> Audit:
    """Return the audit of an episode.

    Args:
        recorded: The topics that were to be recorded.
        counts: Messages by topic.
        stamps: Distinct header stamps [ns] of the observation topics, ascending.
        applied_steps: Distinct steps of the applied actions, ascending.
        steps: Control steps according to the terminal EpisodeInfo; 0 if it does not count them.
    """
    warnings = [f"{t.name} is missing." for t in recorded if t.required and not counts.get(t.name)]
    gaps: dict[str, float] = {}
    for topic in recorded:
        values = np.array(stamps.get(topic.name, ()), np.int64)
        if topic.observation and len(values) > 2:
            differences = np.diff(values) / 1e9
            longest, usual = float(differences.max()), float(np.median(differences))
            if longest > GAP_FACTOR * usual:
                gaps[topic.name] = longest
                warnings.append(f"{topic.name} has a gap of {longest:.3f} s at a period of {usual:.3f} s.")
        if topic.observation and steps and counts.get(topic.name) and len(values) < steps + 1:
            warnings.append(f"{topic.name} has {len(values)} of {steps + 1} observations.")
    lost = sorted(set(range(steps)) - set(applied_steps))
    if lost:
        warnings.append(
            f"The applied actions of {len(lost)} of {steps} steps are missing, the first is step {lost[0]}."
        )
    return Audit(counts=dict(counts), gaps=gaps, warnings=tuple(warnings))
