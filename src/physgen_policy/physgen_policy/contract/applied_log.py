# SPDX-License-Identifier: Apache-2.0
"""Applied actions of one episode in the order of their steps, whatever order they arrive in."""

from __future__ import annotations

from collections import deque

from physgen_control.types import HORIZON, AppliedAction

# Enough for every rule of the gate.
_LOG = 512
# After this many newer actions a missing one is given up: it was lost.
_REORDER = HORIZON


class AppliedLog:
    """Each applied action once, by step; bounded.

    An action that overtook another waits for it, so that the log only ever grows at its end; a lost one is
    skipped.
    """

    def __init__(self) -> None:
        self.actions: deque[AppliedAction] = deque(maxlen=_LOG)
        self._pending: dict[int, AppliedAction] = {}
        self._next = 0

    @property
    def empty(self) -> bool:
        """Whether no action of the episode is known."""
        return not self.actions

    @property
    def last_step(self) -> int:
        """The step before the one that is expected next."""
        return self._next - 1

    def expect(self, step: int) -> None:
        """Start counting at `step`, if there is no history yet (a restart in the middle of an episode)."""
        if self.empty:
            self._next = max(self._next, step)
            self._release()

    def add(self, action: AppliedAction) -> None:
        """Take in an action; one of a step that is over or known changes nothing."""
        if action.step >= self._next:
            self._pending.setdefault(action.step, action)
            if self.empty and action.step > self._next + _REORDER:
                self._next = action.step  # joined a running episode
            if len(self._pending) > _REORDER and self._next not in self._pending:
                self._next = min(self._pending)
            self._release()

    def since(self, step: int) -> list[AppliedAction]:
        """Return the known actions from a step on."""
        return [action for action in self.actions if action.step >= step]

    def _release(self) -> None:
        while self._next in self._pending:
            self.actions.append(self._pending.pop(self._next))
            self._next += 1
        for step in [step for step in self._pending if step < self._next]:
            del self._pending[step]
