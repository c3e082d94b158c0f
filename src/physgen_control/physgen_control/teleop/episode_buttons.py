# SPDX-License-Identifier: Apache-2.0
"""From buttons that are held to requests that are made once: start an episode, or end it with an outcome."""

from __future__ import annotations

from collections.abc import Set

from physgen_control.teleop.command import EPISODE_BUTTONS, Button
from physgen_control.types import EpisodePhase

OUTCOMES = {
    Button.SUCCESS: EpisodePhase.SUCCESS,
    Button.FAILURE: EpisodePhase.FAILURE,
    Button.DISCARD: EpisodePhase.DISCARDED,
}
"""What ending an episode with a button means."""


class EpisodeButtons:
    """Notices when an episode button goes down."""

    def __init__(self) -> None:
        self._down: frozenset[Button] = frozenset()

    def pressed(self, buttons: Set[Button]) -> Button | None:
        """Return the button that went down now; two in one reading are a slip of the hand and mean nothing."""
        down = frozenset(buttons) & frozenset(EPISODE_BUTTONS)
        new = down - self._down
        self._down = down
        return next(iter(new)) if len(new) == 1 else None
