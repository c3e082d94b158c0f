# SPDX-License-Identifier: Apache-2.0
"""One policy for many worker processes: a worker's stand-in that asks, and the server that answers in batches.

The stand-in imports no torch, so a worker of a shared policy holds nothing but its world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_control.errors import UserError
from physgen_control.types import ActionChunk, Episode

if TYPE_CHECKING:
    from physgen_policy.contract.observation import PolicyObservation
    from physgen_policy.runtime.batched import BatchedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """A chunk is wanted."""

    observation: PolicyObservation
    """What it answers."""
    now_ns: int
    """ROS time."""
    episode: Episode | None = None
    """At the first observation of an episode: which."""
    run: int = 0
    """At the first observation of an episode: seeds the sampling."""


class RemotePolicy:
    """Asks for chunks over a connection and waits for them; see sources.ChunkPolicy."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._episode: Episode | None = None
        self._run = 0

    def seed(self, run: int) -> None:
        """Choose the random numbers of the episodes from now on."""
        self._run = run

    def reset(self, episode: Episode, session_id: str = "") -> None:
        """Start an episode; the server learns of it with the first observation."""
        del session_id
        self._episode = episode

    def act(self, observation: PolicyObservation, now_ns: int) -> ActionChunk:
        """Return the chunk that answers an observation.

        Raises:
            UserError: The server could not compute it; its sentence.
        """
        episode, self._episode = self._episode, None
        self._connection.send(
            PolicyRequest(observation=observation, now_ns=now_ns, episode=episode, run=self._run)
        )
        answer: ActionChunk | str = self._connection.recv()
        if isinstance(answer, str):
            raise UserError(answer)
        return answer


class PolicyServer:
    """Owns the shared policy; loads it at the first request. Clients are any hashable numbers."""

    def __init__(self, checkpoint: Path, batch: int) -> None:
        self._checkpoint, self._batch = checkpoint, batch
        self._policy: BatchedPolicy | None = None

    def answer(self, requests: Mapping[int, PolicyRequest]) -> dict[int, ActionChunk | str]:
        """Return a chunk, or a sentence why there is none, for every client's request."""
        from physgen_policy.runtime.batched import BatchedPolicy, BatchItem

        answers: dict[int, ActionChunk | str] = {}
        items: dict[int, BatchItem] = {}
        try:
            policy = self._policy = self._policy or BatchedPolicy.load(self._checkpoint, self._batch)
            for client, request in requests.items():
                item = BatchItem(observation=request.observation, now_ns=request.now_ns)
                try:
                    if request.episode is not None:
                        policy.reset(client, request.episode, request.run)
                    policy.check(client, item)
                except UserError as error:  # costs this client's episode, not the others'
                    answers[client] = str(error)
                else:
                    items[client] = item
            return answers | policy.act(items)
        # Such as a GPU without memory: it costs these episodes, not the evaluation.
        except Exception as error:  # noqa: BLE001  (whatever a policy raises is told to who asked)
            sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            return answers | {client: sentence for client in requests if client not in answers}
