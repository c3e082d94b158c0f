# SPDX-License-Identifier: Apache-2.0
"""Runs episodes of a world at a pace and hands everything to a sink; ROS-free, runs in its own thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from physgen_control.errors import UserError
from physgen_control.messages.graph_identity import new_id
from physgen_control.types import AppliedAction, Episode, EpisodePhase, Float32Array
from physgen_sim_bridge.bridge.pacing import ActionMailbox, hold_action
from physgen_sim_bridge.clock import EpisodeClock
from physgen_sim_bridge.world import Observation, World, WorldCrashed, WorldSpec

CLOCK_TICKS = 5
"""In real time the clock also ticks between observations, so that timers of 20 Hz nodes are not aliased."""

IDLE_CLOCK_S = 0.5
"""Between episodes the unchanged time is repeated this often [wall s], for nodes that start late."""

Pace = Literal["lockstep", "realtime"]


class Sink(Protocol):
    """Where observations go (the node's publishers)."""

    def clock(self, now_ns: int) -> None:
        """Publish the simulated time."""
        ...

    def observation(self, observation: Observation, stamp_ns: int, episode_id: str, spec: WorldSpec) -> None:
        """Publish one observation, every part with this stamp.

        Args:
            observation: What robot and cameras see.
            stamp_ns: When it was taken [ns of simulated time].
            episode_id: The episode that it belongs to.
            spec: Of the world that it comes from.
        """
        ...

    def episode(self, episode: Episode) -> None:
        """Publish the episode's phase."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRequest:
    """What ResetEnv asks for."""

    episode_id: str
    """The new episode's."""
    task: str
    seed: int
    init_state: int
    """Index of a stored initial state, or BY_SEED, or DRAWN."""
    max_steps: int
    """Control steps; 0 means the task's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """Timing of the loop."""

    pace: Pace
    republish_s: float
    """An observation that nobody answered is repeated after so long [wall s]."""
    lockstep_timeout_s: float
    """An observation unanswered for so long crashes the episode [wall s]."""


class EpisodeLoop:
    """Owns the world and its thread; request() may be called from any thread.

    Args:
        make_world: Makes the world of a task.
        world: The first world, which the loop closes.
        sink: Gets observations, episodes and the clock, from the loop's thread.
        config: Its timing.
    """

    def __init__(
        self, make_world: Callable[[str], World], world: World, sink: Sink, config: LoopConfig
    ) -> None:
        self._make_world = make_world
        self._world: World | None = world
        self._spec = world.spec
        self._sink = sink
        self._config = config
        self._clock = EpisodeClock(world.spec.control_period_ns)
        self._requests: queue.Queue[EpisodeRequest | None] = queue.Queue()
        self._stopping = False
        self._now_ns = self._clock.now_ns
        self._thread = threading.Thread(target=self._run, name="world", daemon=True)
        self.mailbox = ActionMailbox()
        self.stale_steps = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Give up the running episode, end the thread and close the world."""
        self._stopping = True
        self._requests.put(None)
        self.mailbox.interrupt()
        self._thread.join(10.0)
        if self._world is not None:
            self._world.close()

    @property
    def task(self) -> str:
        """The current task."""
        return self._spec.task

    def request(self, *, task: str, seed: int, init_state: int, max_steps: int) -> str:
        """Queue an episode and give up the running one; return the new episode's id.

        Args:
            task: Environment id or suite/index; empty: the current one.
            seed: Of the episode.
            init_state: Index of a stored initial state, or BY_SEED, or DRAWN.
            max_steps: Control steps; 0 means the task's default.
        """
        episode_id = new_id()
        self._requests.put(
            EpisodeRequest(
                episode_id=episode_id, task=task, seed=seed, init_state=init_state, max_steps=max_steps
            )
        )
        self.mailbox.interrupt()
        return episode_id

    def _run(self) -> None:
        self._sink.clock(self._clock.now_ns)
        while not self._stopping:
            try:
                request = self._requests.get(timeout=IDLE_CLOCK_S)
            except queue.Empty:
                self._sink.clock(self._now_ns)
                continue
            if request is not None:
                self._run_request(request)

    def _run_request(self, request: EpisodeRequest) -> None:
        self.mailbox.start(request.episode_id, exact=self._config.pace == "lockstep")
        if not self._requests.empty():  # its interruption came before this start and would be lost
            self.mailbox.interrupt()
        start_ns = self._clock.start(max(self._now_ns - self._clock.now_ns, 0) + 1_000_000_000)
        self._tick(start_ns)
        episode = Episode(
            episode_id=request.episode_id,
            task=request.task,
            seed=request.seed,
            instruction=self._spec.instruction,
            start_ns=start_ns,
            max_steps=request.max_steps,
            robot=self._spec.robot,
            source=self._spec.name,
        )
        self.stale_steps = 0
        try:
            world = self._world_of(request.task)
            self._spec = world.spec
            episode = replace(
                episode,
                instruction=self._spec.instruction,
                max_steps=request.max_steps or self._spec.default_max_steps,
                robot=self._spec.robot,
                source=self._spec.name,
            )
            first = world.reset(request.seed, request.init_state)
            self._spec = world.spec  # a perturbed world says an instruction of this episode's own
            episode = replace(episode, instruction=self._spec.instruction)
            self._sink.episode(episode)
            self._run_episode(world, episode, first)
        except (WorldCrashed, UserError) as error:
            self._crash(episode, str(error))
        except Exception as error:  # noqa: BLE001  (the thread must live on: the next reset may work)
            self._crash(episode, f"The world failed with {type(error).__name__}: {error}")
        finally:
            self.mailbox.start("", exact=True)

    def _world_of(self, task: str) -> World:
        """Return the world of a task, made anew when the last one crashed or is of another task."""
        if self._world is not None and self._world.spec.task != task:
            self._world.close()
            self._world = None
        if self._world is None:
            self._world = self._make_world(task)
        return self._world

    def _run_episode(self, world: World, episode: Episode, observation: Observation) -> None:
        gripper = 1.0 if observation.gripper_width > 0.04 else -1.0
        deadline = time.monotonic()
        step = 0
        stamp_ns = self._clock.stamp(0)
        self._publish(observation, stamp_ns, episode)
        while True:
            if self._config.pace == "lockstep":
                action = self._wait_lockstep(observation, stamp_ns, episode, step)
            else:
                deadline = max(deadline + self._clock.period_ns * 1e-9, time.monotonic())
                action = self._wait_realtime(stamp_ns, deadline, gripper)
            if action is None:
                self._end(episode, EpisodePhase.DISCARDED, step, "A new episode was asked for.")
                return
            gripper = float(action[6])
            observation = world.step(action)
            step += 1
            stamp_ns = self._clock.stamp(step)
            self._publish(observation, stamp_ns, episode)
            if observation.success:
                self._end(episode, EpisodePhase.SUCCESS, step, self._stale_text())
                return
            if step >= episode.max_steps:
                self._end(
                    episode, EpisodePhase.FAILURE, step, f"Step limit {step} reached.{self._stale_text()}"
                )
                return

    def _wait_lockstep(
        self, observation: Observation, stamp_ns: int, episode: Episode, step: int
    ) -> Float32Array | None:
        """Wait for the action of this step, repeating the observation; None when the episode is given up.

        Raises:
            WorldCrashed: No action came in time.
        """
        end = time.monotonic() + self._config.lockstep_timeout_s
        while True:
            left = end - time.monotonic()
            if left <= 0.0:
                raise WorldCrashed(
                    f"No executed action for step {step} came within {self._config.lockstep_timeout_s:g} s: "
                    "is a controller running and armed, and a policy publishing chunks?"
                )
            action = self.mailbox.take(min(self._config.republish_s, left))
            if action is not None:
                return action.applied
            if self.mailbox.interrupted:
                return None
            self._publish(observation, stamp_ns, episode)

    def _wait_realtime(self, stamp_ns: int, deadline: float, gripper: float) -> Float32Array | None:
        """Let the clock run to the deadline, then take the newest action or hold; None when the episode is given up."""
        period_s = self._clock.period_ns * 1e-9
        for tick in range(1, CLOCK_TICKS + 1):
            pause = deadline - (1.0 - tick / CLOCK_TICKS) * period_s - time.monotonic()
            if pause > 0.0:
                time.sleep(pause)
            if self.mailbox.interrupted:
                return None
            if tick < CLOCK_TICKS:
                self._tick(stamp_ns + tick * self._clock.period_ns // CLOCK_TICKS)
        action: AppliedAction | None = self.mailbox.take(0.0)
        if action is None:
            self.stale_steps += 1
            return hold_action(gripper)
        return action.applied

    def _publish(self, observation: Observation, stamp_ns: int, episode: Episode) -> None:
        self._tick(stamp_ns)
        self._sink.observation(observation, stamp_ns, episode.episode_id, self._spec)

    def _tick(self, now_ns: int) -> None:
        self._now_ns = max(self._now_ns, now_ns)
        self._sink.clock(self._now_ns)

    def _end(self, episode: Episode, phase: EpisodePhase, step: int, detail: str) -> None:
        self.mailbox.start("", exact=True)
        self._sink.episode(replace(episode, phase=phase, step=step, detail=detail.strip()))

    def _stale_text(self) -> str:
        if self._config.pace == "lockstep":
            return ""
        return f" {self.stale_steps} steps had no action and were held."

    def _crash(self, episode: Episode, detail: str) -> None:
        if self._world is not None:
            self._world.close()
            self._world = None
        step = max(0, (self._clock.now_ns - episode.start_ns) // self._clock.period_ns)
        self._sink.episode(replace(episode, phase=EpisodePhase.CRASHED, step=step, detail=detail))
