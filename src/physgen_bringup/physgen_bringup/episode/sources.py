# SPDX-License-Identifier: Apache-2.0
"""Who acts in the in-process loop: the learned policy, the scripted expert, recorded bags, or random numbers.

Each is asked once per observation and answers with a chunk when one is due; each does what a node does in a graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from physgen_bringup.episode.stamped_observation import StampedObservation
from physgen_control.bags.replay import BagIndex, ReplayPlayer
from physgen_control.controller_config import ControllerConfig
from physgen_control.errors import UserError
from physgen_control.types import (
    ACTION_DIM,
    HORIZON,
    NUM_CHUNKS,
    ActionChunk,
    AppliedAction,
    Episode,
    Float32Array,
)
from physgen_sim_bridge.experts.by_task import make_expert

if TYPE_CHECKING:
    from physgen_policy.contract.observation import PolicyObservation
    from physgen_policy.runtime.own_policy import OwnPolicyRunner


class ChunkSource(ABC):
    """Who acts, as the loop of one episode in this process (inprocess.InProcess) asks; not thread-safe.

    A source that learns nothing from what happens and looks at no images overrides only `reset` and `observe`.
    """

    @abstractmethod
    def reset(self, episode: Episode, run: int = 0) -> None:
        """Start an episode; `run` tells repetitions of one seed apart, which draw other random numbers."""

    @abstractmethod
    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Return the chunk that answers an observation, or None where none is due.

        Args:
            stamped: The observation after `step` actions of the episode.
            step: The control step that the chunk would begin with.
            active: The controller still plays the chunk before.
        """

    def delivered(self, now_ns: int) -> None:  # noqa: B027  (most sources need not know)
        """Hear that the chunk has reached the controller, at this ROS time [ns]."""

    def applied(self, action: AppliedAction) -> None:  # noqa: B027  (most sources need not know)
        """Hear what the controller commanded in a step."""

    @property
    def needs_images(self) -> bool:
        """Whether the next observation must have images; without them `observe` gets no frames."""
        return False

    @property
    def looks_at_images(self) -> bool:
        """Whether it needs images at any observation of an episode."""
        return False


class ChunkPolicy(Protocol):
    """What PolicySource needs of a policy: the one of a checkpoint, or a stand-in that asks another process."""

    def reset(self, episode: Episode, session_id: str = "") -> None:
        """Start an episode."""

    def act(self, observation: PolicyObservation, now_ns: int) -> ActionChunk:
        """Return the chunk that answers an observation, computed at this ROS time [ns]."""

    def seed(self, run: int) -> None:
        """Choose the random numbers of the episodes from now on."""


def load_chunk_policy(checkpoint: Path, task: str, robot: str, period_ns: int) -> ChunkPolicy:
    """Return a checkpoint's policy with the default parameters of the policy node, warmed up; task "": for any task.

    Raises:
        UserError: The checkpoint cannot be used for the task.
    """
    from physgen_policy.contract.embodiment_check import GraphDescription
    from physgen_policy.runtime.loading import load_policy
    from physgen_policy.runtime.policy_config import PolicyConfig

    graph = GraphDescription(control_period=period_ns / 1e9, task=task, robot=robot)
    policy = load_policy(str(checkpoint), graph, PolicyConfig())
    policy.warm_up()
    return policy


class PolicySource(ChunkSource):
    """A policy behind the observation gate."""

    def __init__(
        self,
        policy: ChunkPolicy,
        period_ns: int,
        *,
        lockstep: bool = True,
        lead_steps: int = 0,
        execute_steps: int = HORIZON,
    ) -> None:
        from physgen_policy.contract.observation import GateConfig, ObservationGate

        self._policy = policy
        config = GateConfig(
            step_period_ns=period_ns, lockstep=lockstep, lead_steps=lead_steps, execute_steps=execute_steps
        )
        self._gate = ObservationGate(config)

    @classmethod
    def load(cls, checkpoint: Path, task: str, robot: str, period_ns: int) -> PolicySource:
        """Return a source with a checkpoint's policy, in lockstep.

        Raises:
            UserError: The checkpoint cannot be used for the task.
        """
        return cls(load_chunk_policy(checkpoint, task, robot, period_ns), period_ns)

    def reset(self, episode: Episode, run: int = 0) -> None:
        """Start an episode."""
        self._gate.start_episode(episode, episode.episode_id)
        self._policy.seed(run)
        self._policy.reset(episode, episode.episode_id)

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Predict when an observation is due; return None before."""
        from physgen_policy.contract.observation import PolicyObservation

        del step, active
        for name, frame in stamped.frames.items():
            self._gate.put_frame(name, frame)
        observation = self._gate.take(stamped.sim.stamp_ns)
        if not isinstance(observation, PolicyObservation):
            return None
        return self._policy.act(observation, stamped.sim.stamp_ns)

    def delivered(self, now_ns: int) -> None:
        """Tell the observation gate that the chunk is out."""
        self._gate.chunk_sent(now_ns)

    def applied(self, action: AppliedAction) -> None:
        """Tell the observation gate what was applied."""
        self._gate.put_action(action)

    @property
    def needs_images(self) -> bool:
        """Whether an observation is due: only at the border of two chunks."""
        return self._gate.due

    @property
    def looks_at_images(self) -> bool:
        """True: at the observations that are due."""
        return True


class OwnPolicySource(PolicySource):
    """A policy of somebody's own behind the observation gate; it may also see the measured state of the arm."""

    def __init__(self, runner: OwnPolicyRunner, period_ns: int, *, lockstep: bool = True) -> None:
        super().__init__(runner, period_ns, lockstep=lockstep, execute_steps=runner.execute_steps)
        self._runner = runner

    @classmethod
    def of(cls, name: str, period_ns: int, *, checkpoint: str = "", lockstep: bool = True) -> OwnPolicySource:
        """The policy that an installed package adds or that `module:Class` names, with the folder that it takes."""
        from physgen_policy.runtime.own_policy import OwnPolicyRunner

        return cls(OwnPolicyRunner.load(name, period_ns, checkpoint), period_ns, lockstep=lockstep)

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Predict when an observation is due."""
        self._runner.put_state(stamped.robot)
        return super().observe(stamped, step, active)


class ExpertSource(ChunkSource):
    """The scripted expert: one action per observation, from the simulator's state."""

    def __init__(self, sim: str, task: str, period_ns: int) -> None:
        self._expert = make_expert(sim, task)
        self._period_ns = period_ns
        self._episode: Episode | None = None
        self._seq = 0

    def reset(self, episode: Episode, run: int = 0) -> None:
        """Start an episode; the expert draws nothing, so that `run` changes nothing."""
        self._expert.reset()
        self._episode, self._seq = episode, 0

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Return the expert's action for this state."""
        if active or self._episode is None:
            return None
        state = stamped.sim
        action = self._expert.act(state.objects, state.tcp_pose, state.gripper_width)
        data = np.repeat(action[None, None], HORIZON, axis=1)
        chunk = make_chunk(
            self._episode, data, seq=self._seq, step=step, stamp_ns=state.stamp_ns, period_ns=self._period_ns
        )
        self._seq += 1
        return replace(chunk, execute_steps=1)


class RandomSource(ChunkSource):
    """Uniform random actions within the controller's limits, from the episode's seed: a floor."""

    def __init__(self, config: ControllerConfig) -> None:
        # Divided by sqrt(3), so that the length of a random vector stays within the limit too.
        translation, rotation = config.translation_limit / np.sqrt(3), config.rotation_limit / np.sqrt(3)
        self._scale = np.array([translation] * 3 + [rotation] * 3 + [1.0])
        self._period_ns = config.control_period_ns
        self._rng = np.random.default_rng(0)
        self._episode: Episode | None = None
        self._seq = 0

    def reset(self, episode: Episode, run: int = 0) -> None:
        """Seed the generator with the episode's seed and the run."""
        self._rng = np.random.default_rng((episode.seed, run) if run else episode.seed)
        self._episode, self._seq = episode, 0

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Return a new chunk whenever the last one is over."""
        if active or self._episode is None:
            return None
        data = (self._rng.uniform(-1.0, 1.0, (1, HORIZON, ACTION_DIM)) * self._scale).astype(np.float32)
        self._seq += 1
        return make_chunk(
            self._episode,
            data,
            seq=self._seq - 1,
            step=step,
            stamp_ns=stamped.sim.stamp_ns,
            period_ns=self._period_ns,
        )


class ReplaySource(ChunkSource):
    """The applied actions of recorded episodes, by task and seed."""

    def __init__(self, bag_dir: Path, period_ns: int) -> None:
        self._index = BagIndex.of(bag_dir)
        self._period_ns = period_ns
        self._player: ReplayPlayer | None = None

    def reset(self, episode: Episode, run: int = 0) -> None:
        """Read the episode's bag.

        Raises:
            BagError: There is none of its task and seed, or it cannot be read.
        """
        bag = self._index.find(episode.task, episode.seed)
        self._player = ReplayPlayer.of_bag(episode, bag.path, episode.episode_id)

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Return the next recorded actions when the last ones are over.

        Raises:
            UserError: They ended before the episode did.
        """
        if active or self._player is None:
            return None
        if self._player.finished:
            raise UserError(f"the recorded actions ended before the episode did, at step {step}")
        return self._player.next_chunk(
            base_step=step,
            observation_ns=stamped.sim.stamp_ns,
            now_ns=stamped.sim.stamp_ns,
            step_period_ns=self._period_ns,
        )


def make_chunk(
    episode: Episode, first: Float32Array, *, seq: int, step: int, stamp_ns: int, period_ns: int
) -> ActionChunk:
    """Return a prediction whose executed chunk is `first`, float32 [1, 8, 7]; its other two chunks do not move."""
    data = np.zeros((NUM_CHUNKS, HORIZON, ACTION_DIM), np.float32)
    data[0] = first[0]
    data[1:, :, -1] = first[0, -1, -1]
    return ActionChunk.of(
        data,
        session_id=episode.episode_id,
        episode_id=episode.episode_id,
        chunk_seq=seq,
        base_step=step,
        stamp_ns=stamp_ns,
        step_period_ns=period_ns,
        instruction=episode.instruction,
        policy_id="scripted",
    )
