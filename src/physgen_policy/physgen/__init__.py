# SPDX-License-Identifier: Apache-2.0
"""PhysGen from Python, without ROS: load a checkpoint and ask it for actions, or write a policy of your own.

    import physgen

    policy = physgen.load("pushcube-tiny")
    actions = policy.act(fixed=rgb, wrist=rgb, instruction="push the cube to the goal")  # float32 [3, 8, 7]

Importing this loads no network library; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen_control.types import RobotState
from physgen_policy.contract.own_policy import Policy, PolicyInput

if TYPE_CHECKING:
    from physgen_policy.runtime.loaded_policy import LoadedPolicy

__all__ = ["Policy", "PolicyInput", "RobotState", "checkpoints", "load"]
__version__ = "0.1.0"


def load(checkpoint: str, *, device: str = "auto") -> LoadedPolicy:
    """Return the policy of a checkpoint, ready to act.

    Args:
        checkpoint: The name of a shipped one (see `checkpoints`) or a checkpoint folder.
        device: "cpu", "cuda", or "auto": a GPU where there is one.

    Raises:
        UserError: There is no such checkpoint, it is damaged, or it was never trained on a robot's actions; a
            subclass of Exception whose text is one sentence.
    """
    from physgen_policy.runtime.loaded_policy import LoadedPolicy

    return LoadedPolicy.load(checkpoint, device)


def checkpoints() -> tuple[str, ...]:
    """Return the names of the checkpoints that are installed; `load` takes them."""
    from physgen_policy.checkpoint.find import shipped_policies

    return tuple(shipped_policies())
