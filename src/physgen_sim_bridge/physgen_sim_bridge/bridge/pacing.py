# SPDX-License-Identifier: Apache-2.0
"""Which applied action a step takes: the lockstep wait and the real-time latest-wins, without ROS."""

from __future__ import annotations

import threading

import numpy as np

from physgen_control.types import ACTION_DIM, AppliedAction, Float32Array


class ActionMailbox:
    """Hands applied actions from a callback thread to the thread that steps the world.

    Accepts only executed actions of the current episode; a repeated or older step is ignored.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._episode_id = ""
        self._expected = 0
        self._exact = True
        self._action: AppliedAction | None = None
        self._interrupted = False

    def start(self, episode_id: str, *, exact: bool) -> None:
        """Expect the actions of an episode from step 0 on.

        Args:
            episode_id: The episode.
            exact: Only the expected step counts (lockstep); else any newer one does.
        """
        with self._condition:
            self._episode_id, self._expected, self._exact, self._action = episode_id, 0, exact, None
            self._interrupted = False

    def interrupt(self) -> None:
        """Wake a waiting take(): the episode is given up."""
        with self._condition:
            self._interrupted = True
            self._condition.notify_all()

    @property
    def interrupted(self) -> bool:
        """Whether the episode was given up."""
        with self._condition:
            return self._interrupted

    def offer(self, action: AppliedAction) -> bool:
        """Store an action if it is meant for this step; return whether it was."""
        with self._condition:
            if not action.executed or not self._episode_id or action.episode_id != self._episode_id:
                return False
            if action.step < self._expected or (self._exact and action.step != self._expected):
                return False
            if self._exact and self._action is not None:
                return False
            self._action = action
            self._condition.notify_all()
            return True

    def take(self, timeout_s: float) -> AppliedAction | None:
        """Wait for the action and expect the next step; None after the timeout or an interruption."""
        with self._condition:
            self._condition.wait_for(lambda: self._action is not None or self._interrupted, timeout_s)
            if self._action is None or self._interrupted:
                return None
            action, self._action = self._action, None
            self._expected = action.step + 1
            return action


def hold_action(gripper: float) -> Float32Array:
    """Return zero motion that keeps the gripper command (+1 open, -1 closed): a canonical action, float32 [7]."""
    action = np.zeros(ACTION_DIM, dtype=np.float32)
    action[6] = gripper
    return action
