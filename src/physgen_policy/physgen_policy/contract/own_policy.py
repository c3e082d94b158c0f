# SPDX-License-Identifier: Apache-2.0
"""The base class of a policy of one's own, and how one is found by its name. Knows no torch and no ROS."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from physgen_control.program.plugins import POLICIES, PluginError, PluginTable, check_constructor, construct
from physgen_control.types import HORIZON, Float32Array, RobotState, UInt8Image

TABLE = PluginTable(
    group=POLICIES,
    kind="policy",
    ours={"physworld": "physgen_physworld.policy.physworld_policy:PhysWorldPolicy"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInput:
    """What a policy sees when its last chunk is over.

    Attributes:
        fixed: Image of the fixed camera, uint8 [height, width, 3], RGB.
        wrist: Image of the wrist camera, taken at the same time, uint8 [height, width, 3], RGB.
        instruction: What to do, a sentence.
        step: Control steps of the episode that were executed before the images were taken; 0 at its start.
        past_actions: What the arm was really commanded since the last look, float32 [8, 7], oldest first, numbers as in
            `Policy.act`. At an episode's first look they stand for rest.
        first: This is the episode's first look.
        state: The measured state of the arm at the time of the images; None unless `Policy.needs_state`.
    """

    fixed: UInt8Image
    wrist: UInt8Image
    instruction: str
    step: int
    past_actions: Float32Array
    first: bool
    state: RobotState | None = None


class Policy(ABC):
    """A policy of one's own: made without arguments, then asked for actions. Used by one thread at a time.

    Attributes:
        takes_checkpoint: Whether it is made with one argument instead, the folder that `checkpoint:=` or `--checkpoint`
            names (pathlib.Path).
        picture_size: Edge of the pictures that simulated cameras draw for it [pixels].
        needs_state: Whether `act` wants the measured state of the arm.
        execute_steps: Actions of each answer that are executed before the next look, 1 to 8.
        robots: Which robots its actions are meant for; a graph of another one is refused. Name "fr3" for a real arm.
    """

    takes_checkpoint: ClassVar[bool] = False
    picture_size: ClassVar[int] = 128
    needs_state: ClassVar[bool] = False
    execute_steps: ClassVar[int] = HORIZON
    robots: ClassVar[tuple[str, ...]] = ("panda",)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: B027  (a policy without memory needs none)
        """Start an episode: forget what came before.

        Args:
            instruction: What to do, a sentence.
            seed: For random numbers; the same seed must give the same episode.
        """

    @abstractmethod
    def act(self, observation: PolicyInput) -> Float32Array:
        """Return the next actions, float32 [n, 7] with execute_steps <= n <= 24, one per control step of 50 ms.

        The first 8 may be executed; what follows is the plan that others see.

        An action is dx, dy, dz [m], a rotation vector [rad], both added to the measured pose of the tool centre point
        in the robot's base frame, and the gripper: +1 open, -1 closed. The controller clips and refuses what is not
        safe, as it does for every policy.
        """


def find_policy_class(name: str) -> type[Policy]:
    """Return the class of a policy that an installed package adds or that `module:Class` names.

    Raises:
        PluginError: There is none, it cannot be imported, or it is no policy that is made without arguments.
    """
    found = TABLE.load(name)
    if not inspect.isclass(found) or not issubclass(found, Policy):
        raise PluginError(f"{name} is no policy: it must be a subclass of physgen.Policy")
    check_constructor(found, name, "policy", arguments=int(found.takes_checkpoint))
    if not 1 <= found.execute_steps <= HORIZON:
        raise PluginError(
            f"{name} is no policy that can run: its execute_steps must be 1 to {HORIZON}, and is {found.execute_steps}"
        )
    return found


def make_policy(name: str, checkpoint: str = "") -> Policy:
    """Return the policy of a name, made with a folder if it takes one.

    Args:
        name: Of an installed package's policy, one of this project's, or `module:Class`.
        checkpoint: The folder; "" for none.

    Raises:
        PluginError: It cannot be found, imported or made, or it takes a folder and has none, or the other way round.
        UserError: It refuses by itself, with a sentence of its own.
    """
    found = find_policy_class(name)
    check_checkpoint(found, name, checkpoint)
    folder = Path(checkpoint).expanduser()
    make = (lambda: found(folder)) if found.takes_checkpoint else found  # type: ignore[call-arg]
    policy: Policy = construct(make, name, "policy")
    return policy


def check_checkpoint(policy: type[Policy], name: str, checkpoint: str) -> None:
    """Refuse a policy without the folder that it takes, and a folder that it does not take.

    Raises:
        PluginError: The one or the other.
    """
    if policy.takes_checkpoint and not checkpoint:
        raise PluginError(f"the policy {name} is made from a folder: name it as its checkpoint")
    if policy.takes_checkpoint and not Path(checkpoint).expanduser().is_dir():
        raise PluginError(f"the policy {name} is made from a folder, and {checkpoint} is none")
    if checkpoint and not policy.takes_checkpoint:
        raise PluginError(f"the policy {name} takes no checkpoint; drop {checkpoint}")
