# SPDX-License-Identifier: Apache-2.0
"""Choose a recorded episode and cut its actions into chunks again: the ROS-free part of the replay node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen_control.bags.errors import BagError
from physgen_control.bags.find import find_bags
from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.bags.summary import BagSummary, read_summary
from physgen_control.types import ACTION_DIM, HORIZON, ActionChunk, Episode, Float32Array, Source

REPLAYED_SOURCES = (Source.POLICY, Source.TELEOP)


@dataclass(frozen=True, slots=True)
class BagIndex:
    """The bags of a folder, from their metadata only."""

    folder: Path
    bags: tuple[BagSummary, ...]
    left_out: tuple[str, ...] = ()
    """One sentence per bag that cannot be read."""

    @classmethod
    def of(cls, folder: Path | str) -> BagIndex:
        """Return the index of a bag or a folder of bags.

        Raises:
            BagError: The folder does not exist or holds no bag that can be read.
        """
        paths = find_bags(folder)
        if not paths:
            raise BagError(
                f"{folder} holds no finished bag: record some (record:=true) or give another folder."
            )
        bags, left_out = [], []
        for path in paths:
            try:
                bags.append(read_summary(path))
            except BagError as error:
                left_out.append(str(error))
        if not bags:
            raise BagError(f"None of the {len(paths)} bags in {folder} can be read; the first: {left_out[0]}")
        return cls(Path(folder), tuple(bags), tuple(left_out))

    def find(self, task: str, seed: int) -> BagSummary:
        """Return the bag of a task and seed, a successful one where there are several.

        Raises:
            BagError: No bag fits, in one sentence that names the seeds that are there.
        """
        fitting = [bag for bag in self.bags if bag.task == task and bag.seed == seed]
        if not fitting:
            seeds = sorted({bag.seed for bag in self.bags if bag.task == task})
            there = f"its seeds for this task are {seeds}" if seeds else "it has no bag of this task"
            unread = f" {len(self.left_out)} bags cannot be read: {self.left_out[0]}" if self.left_out else ""
            raise BagError(f"{self.folder} has no bag for task {task!r} and seed {seed}: {there}.{unread}")
        return next((bag for bag in fitting if bag.outcome == "SUCCESS"), fitting[0])


def replayed_actions(recording: EpisodeRecording) -> Float32Array:
    """Return the recorded actions to apply again, float32 [n, 7]: executed ones of policy and teleoperation.

    Raises:
        BagError: The bag has none.
    """
    actions = [a.applied for a in recording.applied if a.executed and a.source in REPLAYED_SOURCES]
    if not actions:
        raise BagError(f"The bag {recording.path} has no executed action of a policy or of teleoperation.")
    return np.stack(actions).astype(np.float32)


class ReplayPlayer:
    """Hands out the actions of one episode as chunks of up to 8, in order.

    Args:
        episode: The episode that runs now.
        actions: The recorded actions, float32 [n, 7].
        session_id: Session of the chunks.
        policy_id: What the chunks name as their policy.
    """

    def __init__(self, episode: Episode, actions: Float32Array, session_id: str, policy_id: str) -> None:
        if actions.ndim != 2 or actions.shape[1] != ACTION_DIM:
            raise BagError(f"Replayed actions must have the shape (n, {ACTION_DIM}), got {actions.shape}.")
        self.episode = episode
        self.actions = actions
        self._session_id = session_id
        self._policy_id = policy_id
        self._next = 0
        self._seq = 0

    @classmethod
    def of_bag(cls, episode: Episode, path: Path, session_id: str) -> ReplayPlayer:
        """Return a player of the bag at `path` for the running episode.

        Raises:
            BagError: The bag cannot be read, or has no action to apply again.
        """
        return cls(episode, replayed_actions(read_episode(path)), session_id, f"replay:{path.name}")

    @property
    def finished(self) -> bool:
        """Whether every action was handed out; further chunks hold still."""
        return self._next >= len(self.actions)

    def next_chunk(
        self, *, base_step: int, observation_ns: int, now_ns: int, step_period_ns: int
    ) -> ActionChunk:
        """Return the next chunk; the last recorded one is shorter, then come chunks of zero motion.

        Those let an episode that outlives its recording end by its own step limit.

        Args:
            base_step: Control step at which it starts.
            observation_ns: Stamp of the robot state it answers [ns].
            now_ns: ROS time [ns].
            step_period_ns: Control period [ns].
        """
        part = self.actions[self._next : self._next + HORIZON]
        if self.finished:
            part = np.zeros((HORIZON, ACTION_DIM), np.float32)
            part[:, -1] = self.actions[-1, -1]  # the gripper keeps its state
        chunk = ActionChunk.of(
            part,
            session_id=self._session_id,
            episode_id=self.episode.episode_id,
            chunk_seq=self._seq,
            base_step=base_step,
            stamp_ns=now_ns,
            observation_ns=observation_ns,
            step_period_ns=step_period_ns,
            instruction=self.episode.instruction,
            policy_id=self._policy_id,
        )
        self._next += len(part)
        self._seq += 1
        return chunk
