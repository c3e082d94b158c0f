# SPDX-License-Identifier: Apache-2.0
"""A policy of one's own: it moves the hand forward until it has gone 20 cm. See docs/own_things.md.

./physgen eval --policy examples/own_policy.py:Forward --sim fake --episodes 2 --out runs/forward
./physgen launch policy:=examples/own_policy.py:Forward sim:=fake
"""

import numpy as np

import physgen


class Forward(physgen.Policy):
    """Moves along x, slower towards the end."""

    needs_state = True

    def reset(self, instruction: str, seed: int) -> None:
        self.start: float | None = None

    def act(self, observation: physgen.PolicyInput) -> np.ndarray:
        assert observation.state is not None  # asked for above
        x = float(observation.state.tcp_pose.position[0])
        self.start = x if self.start is None else self.start
        actions = np.zeros((8, 7), np.float32)
        actions[:, 0] = np.clip((self.start + 0.2 - x) / 8, 0.0, 0.02)  # [m] per control step
        actions[:, 6] = -1.0  # closed
        return actions
