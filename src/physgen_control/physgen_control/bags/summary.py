# SPDX-License-Identifier: Apache-2.0
"""What an episode bag is about, from its metadata alone: task, robot, instruction and outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physgen_control.bags.errors import BagError
from physgen_control.bags.source import DAMAGE, connections_of, open_bag, read_metadata, store_of
from physgen_control.messages import read, topics


@dataclass(frozen=True, slots=True, kw_only=True)
class BagSummary:
    """One bag, without its messages. A text that nobody recorded is empty."""

    path: Path
    task: str
    robot: str
    seed: int
    """-1 where none was recorded."""
    episode_id: str
    instruction: str
    outcome: str
    """Name of an EpisodePhase."""
    steps: int
    """Control steps; 0 where they were not recorded."""
    custom_data: dict[str, str]
    counts: dict[str, int]
    """Messages by topic."""
    duration_ns: int


def read_summary(path: Path | str) -> BagSummary:
    """Return what the metadata of a bag says, or the last EpisodeInfo where `ros2 bag record` wrote the bag.

    Raises:
        BagError: The bag is missing or damaged, in one sentence.
    """
    path = Path(path)
    metadata = read_metadata(path)
    custom = metadata.custom_data
    try:
        summary = BagSummary(
            path=path,
            task=custom.get("task", ""),
            robot=custom.get("robot", ""),
            seed=int(custom.get("seed", "-1")),
            episode_id=custom.get("episode_id", ""),
            instruction=custom.get("instruction", ""),
            outcome=custom.get("outcome", ""),
            steps=int(custom.get("steps", "0")),
            custom_data=custom,
            counts=metadata.counts,
            duration_ns=metadata.duration_ns,
        )
    except ValueError as error:
        raise BagError(f"The metadata of {path} is not that of an episode bag: {error}.") from error
    if "task" in custom or not metadata.counts.get(topics.EPISODE_INFO):
        return summary
    return _with_episode(summary)


def _with_episode(summary: BagSummary) -> BagSummary:
    """Return the summary with what the last EpisodeInfo says.

    Raises:
        BagError: The bag cannot be read.
    """
    path = summary.path
    try:
        with open_bag(path) as reader:
            store, last = store_of(reader), None
            for connection, _, data in reader.messages(connections_of(reader, topics.EPISODE_INFO)):
                last = connection.msgtype, data
        if last is None:
            return summary
        message: Any = store.deserialize_cdr(last[1], last[0])
        episode = read.episode_from_msg(message)
    except DAMAGE as error:
        raise BagError(
            f"The bag {path} cannot be read: {error} Recover it with `physgen repair {path}`."
        ) from error
    return replace(
        summary,
        task=episode.task,
        robot=episode.robot,
        seed=episode.seed,
        episode_id=episode.episode_id,
        instruction=episode.instruction,
        outcome=episode.phase.name,
        steps=episode.step,
    )
