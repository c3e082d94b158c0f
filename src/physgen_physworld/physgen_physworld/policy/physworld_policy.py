# SPDX-License-Identifier: Apache-2.0
"""`policy:=physworld`: PhysWorld as a policy of the graph, from a run of one scene or a kit for all of a camera."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import ClassVar

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM, HORIZON, Float32Array
from physgen_physworld.execution.live_plan import LivePlan
from physgen_physworld.policy.kit import Kit, open_kit
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.tracker import find_first
from physgen_physworld.reconstruction.words import things_named
from physgen_policy.contract.own_policy import Policy, PolicyInput

LOG = logging.getLogger(__name__)


class PhysWorldPolicy(Policy):
    """Follows the video of its folder, or one that it generates from an episode's first picture.

    Raises:
        UserError: the folder is neither a run nor a kit, or something in it cannot be read.
    """

    takes_checkpoint: ClassVar[bool] = True
    picture_size: ClassVar[int] = 256
    needs_state: ClassVar[bool] = True
    execute_steps: ClassVar[int] = 4
    robots: ClassVar[tuple[str, ...]] = ("panda", "fr3")

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("mujoco") is None:
            raise UserError("physworld needs the physical twin's packages; run `./physgen setup --physworld`")
        self._kit: Kit = open_kit(folder)
        self._plan: LivePlan | None = None
        self._instruction = ""
        self._gave_up = False

    def reset(self, instruction: str, seed: int) -> None:
        """Start an episode."""
        self._plan, self._gave_up = None, False

    def act(self, observation: PolicyInput) -> Float32Array:
        """Return the next 24 actions; where nothing can be followed the arm stays, and a warning says why."""
        if not self._gave_up:
            try:
                return self._followed(observation)
            except UserError as error:
                self._gave_up = True
                LOG.warning("physworld does nothing more in this episode: %s", error)
        still = np.zeros((HORIZON, ACTION_DIM), np.float32)
        still[:, 6] = observation.past_actions[-1, 6]  # what is held stays held
        return still

    def _followed(self, observation: PolicyInput) -> Float32Array:
        """Return the actions of the episode's plan, which begins at its first look.

        Raises:
            UserError: there is nothing to follow, or not any more.
        """
        if self._plan is None:
            if observation.step:
                raise UserError(
                    "it came into an episode that had begun, and its video begins with the first picture"
                )
            self._plan, self._instruction = self._begin(observation), observation.instruction
        if observation.instruction != self._instruction:
            raise UserError("the instruction has changed, and a video follows one; begin a new episode")
        assert observation.state is not None
        return self._plan.actions(observation.fixed, observation.state, observation.step)

    def _begin(self, observation: PolicyInput) -> LivePlan:
        picture = observation.fixed
        camera = self._kit.camera.scaled((picture.shape[0], picture.shape[1]))
        situation = self._kit.situation(picture, camera, observation.instruction)
        starts = find_first(picture, camera, things_named(observation.instruction), PlaneDepth())
        return LivePlan(
            camera, starts, picture, situation.goals, situation.scene, self._kit.policy, self.execute_steps
        )
