# SPDX-License-Identifier: Apache-2.0
"""Runs a policy of somebody's own in the place of a checkpoint's: the same observations in, the same chunks out."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import (
    ACTION_DIM,
    HORIZON,
    NUM_CHUNKS,
    ActionChunk,
    Episode,
    Float32Array,
    RobotState,
    UInt8Image,
)
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.own_policy import Policy, PolicyInput, make_policy
from physgen_policy.runtime.mailbox import CancelToken
from physgen_policy.runtime.prediction_error import PredictionError

_STATES = 512
_STATE_WAIT_S = 1.0
_MOST_PERIODS = 2
"""Control periods that a state may be older than the images it is given with."""


class OwnPolicyError(UserError):
    """Somebody's policy answered with what is no chunk; the message says what it must be."""


class OwnPolicyRunner:
    """Makes a Policy look like the policy of a checkpoint (ServedPolicy).

    One thread calls everything but `put_state`, which any other may call meanwhile.
    """

    def __init__(self, policy: Policy, name: str, period_ns: int) -> None:
        self._policy, self._period_ns = policy, period_ns
        self.policy_id = name
        self.gpu_memory = 0.0
        self.prediction_errors: tuple[PredictionError, ...] = ()  # it imagines nothing
        self.execute_steps = policy.execute_steps
        self.needs_state = policy.needs_state
        self._episode: Episode | None = None
        self._session_id = ""
        self._instruction = ""
        self._run = 0
        self._seq = 0
        self._states: deque[RobotState] = deque(maxlen=_STATES)
        self._arrived = threading.Condition()

    @classmethod
    def load(cls, name: str, period_ns: int, checkpoint: str = "") -> OwnPolicyRunner:
        """Make the policy that an installed package adds or that `module:Class` names.

        Args:
            name: Its name or reference.
            period_ns: Control period of the graph.
            checkpoint: The folder that it is made from, if it takes one.

        Raises:
            PluginError: It cannot be found, imported or made.
        """
        return cls(make_policy(name, checkpoint), name, period_ns)

    def mismatches(self, graph: GraphDescription) -> list[str]:
        """Return that it names no such robot, if so: only its author knows what its actions are meant for."""
        if graph.robot in ("", *self._policy.robots):
            return []
        named = ", ".join(self._policy.robots) or "none"
        return [f"the robot is {graph.robot}, and {self.policy_id} names {named} in `robots`"]

    def warm_up(self, imagine: bool = False) -> None:
        """Do nothing: a policy of one's own is ready once it is made."""

    def seed(self, run: int) -> None:
        """Choose the random numbers of the episodes from now on."""
        self._run = run

    def reset(self, episode: Episode, session_id: str = "") -> None:
        """Start an episode."""
        self._episode, self._session_id, self._seq = episode, session_id or episode.episode_id, 0
        self._instruction = episode.instruction
        seed = int(np.random.SeedSequence((max(episode.seed, 0), self._run)).generate_state(1, np.uint64)[0])
        self._policy.reset(episode.instruction, seed)

    def set_instruction(self, instruction: str) -> None:
        """Follow another instruction from the next chunk on."""
        self._instruction = instruction

    def put_state(self, state: RobotState) -> None:
        """Take a measured state of the arm."""
        with self._arrived:
            if self._states and state.stamp_ns < self._states[-1].stamp_ns:
                self._states.clear()  # time went back: what is kept lies in the future
            self._states.append(state)
            self._arrived.notify_all()

    def act(
        self, observation: PolicyObservation, now_ns: int, cancel: CancelToken | None = None
    ) -> ActionChunk:
        """Ask the policy.

        Raises:
            OwnPolicyError: What it returns are no actions, or no episode is running.
        """
        episode = self._episode
        if episode is None or episode.episode_id != observation.episode_id:
            raise OwnPolicyError(f"an observation of episode {observation.episode_id} came outside of it")
        frames = observation.frames
        seen = PolicyInput(
            fixed=frames["fixed"].rgb,
            wrist=frames["wrist"].rgb,
            instruction=self._instruction,
            step=observation.base_step,
            past_actions=observation.past_actions,
            first=observation.first,
            state=self._state_at(frames.stamp_ns) if self.needs_state else None,
        )
        actions = self._checked(self._policy.act(seen))
        (cancel or CancelToken()).check()
        chunk = ActionChunk.of(
            actions,
            session_id=self._session_id,
            episode_id=episode.episode_id,
            chunk_seq=self._seq,
            base_step=observation.base_step,
            stamp_ns=frames.stamp_ns,
            inference_ns=now_ns,
            step_period_ns=self._period_ns,
            instruction=self._instruction,
            policy_id=self.policy_id,
        )
        self._seq += 1
        return replace(chunk, execute_steps=self.execute_steps)

    def predict_frame(self) -> UInt8Image | None:
        """Return None: only a checkpoint imagines frames."""
        return None

    def _checked(self, answer: object) -> Float32Array:
        """Return actions [n, 7] as the three chunks of a message, [3, 8, 7]: what is missing rests.

        Raises:
            OwnPolicyError: They are of another shape or number, or not finite.
        """
        try:
            actions = np.asarray(answer, np.float32)
        except (TypeError, ValueError) as error:
            raise OwnPolicyError(f"{self.policy_id} must return numbers [n, 7]: {error}") from error
        if actions.ndim != 2 or actions.shape[1] != ACTION_DIM:
            raise OwnPolicyError(
                f"{self.policy_id} must return actions [n, {ACTION_DIM}], and returned {list(actions.shape)}"
            )
        most = NUM_CHUNKS * HORIZON
        if not self.execute_steps <= len(actions) <= most:
            raise OwnPolicyError(
                f"{self.policy_id} must return {self.execute_steps} to {most} actions, and returned {len(actions)}"
            )
        if not np.isfinite(actions).all():
            raise OwnPolicyError(f"{self.policy_id} returned actions that are not finite numbers")
        data = np.zeros((most, ACTION_DIM), np.float32)
        data[:, -1] = actions[-1, -1]
        data[: len(actions)] = actions
        data[:, -1] = np.clip(data[:, -1], -1.0, 1.0)
        return data.reshape(NUM_CHUNKS, HORIZON, ACTION_DIM)

    def _state_at(self, stamp_ns: int) -> RobotState:
        """Return the newest state that is not younger than the images; wait for one of the same time, but not long.

        Raises:
            OwnPolicyError: None came.
        """
        with self._arrived:
            self._arrived.wait_for(
                lambda: bool(self._states) and self._states[-1].stamp_ns >= stamp_ns, _STATE_WAIT_S
            )
            oldest_ns = stamp_ns - _MOST_PERIODS * self._period_ns
            older = [state for state in self._states if oldest_ns <= state.stamp_ns <= stamp_ns]
            if not older:
                raise OwnPolicyError(
                    "the arm's state of the time of the images did not come; does the robot publish /joint_states?"
                )
            return older[-1]
