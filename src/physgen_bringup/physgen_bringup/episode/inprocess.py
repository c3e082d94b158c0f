# SPDX-License-Identifier: Apache-2.0
"""The whole loop in one process, without ROS: world, policy and controller, in lockstep or with a known delay.

Uses the very classes that the nodes use and stamps observations as the bridge does, so that the applied
actions of a lockstep episode are bit-identical to those of the same seed through the graph.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.episode.film import Film
from physgen_bringup.episode.lerobot_source import LerobotSource, open_client
from physgen_bringup.episode.shared_policy import RemotePolicy
from physgen_bringup.episode.sources import (
    ChunkPolicy,
    ChunkSource,
    ExpertSource,
    OwnPolicySource,
    PolicySource,
    RandomSource,
    ReplaySource,
    load_chunk_policy,
)
from physgen_bringup.episode.stamped_observation import StampedObservation, stamp_observation
from physgen_bringup.episode.tally import EpisodeTally, actions_path
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.policy_kinds import is_own, picture_size, policy_kind
from physgen_bringup.results.results import EpisodeResult, Latencies, Trial
from physgen_control.controller.core import ControllerCore
from physgen_control.controller_config import Pacing
from physgen_control.errors import UserError
from physgen_control.types import (
    ActionChunk,
    AppliedAction,
    Episode,
    EpisodePhase,
)
from physgen_policy.peer.client import LerobotClient
from physgen_sim_bridge.clock import EpisodeClock
from physgen_sim_bridge.perturbation.condition import parse_condition
from physgen_sim_bridge.perturbation.perturbed_world import perturbed
from physgen_sim_bridge.registry import instructions, make_world
from physgen_sim_bridge.world import World


class InProcess:
    """Runs episodes; owns its world. Not thread-safe.

    The world draws only the images that the source looks at, unless render_all or an episode is filmed. A controller
    paced by states waits for every chunk (lockstep). One paced by time never waits: a chunk reaches it delay_steps
    control steps after its observation, counted in the world's own steps, so that the outcome does not depend on how
    fast this machine computes.

    Args:
        world: Where episodes happen.
        core: The controller.
        source: Who acts.
        max_steps: Control steps; 0 means the task's own limit.
        save_to: Folder for the applied actions.
        render_all: Draw every step.
        delay_steps: Control steps by which every chunk is late.
    """

    def __init__(
        self,
        world: World,
        core: ControllerCore,
        source: ChunkSource,
        *,
        max_steps: int = 0,
        save_to: Path | None = None,
        render_all: bool = False,
        delay_steps: int = 0,
    ) -> None:
        self._world, self._core, self._source = world, core, source
        self._clock = EpisodeClock(world.spec.control_period_ns)
        self._max_steps = max_steps or world.spec.default_max_steps
        self._save_to = save_to
        self._render_all = render_all
        self._waits = core.config.pacing is Pacing.STATE
        self._delay_steps = delay_steps
        self._underway: deque[tuple[int, ActionChunk]] = deque()
        self._plays_until = 0
        self._count = 0
        self.actions: list[AppliedAction] = []

    def close(self) -> None:
        """Free the world."""
        self._world.close()

    def run_episode(
        self, seed: int, init_state: int = -1, run: int = 0, video: Path | None = None
    ) -> tuple[EpisodeResult, Latencies]:
        """Run one trial to its end; its applied actions stay in `actions`, its images in the file `video`."""
        observation = self._world.reset(seed, init_state)
        spec = self._world.spec  # a perturbed world says an instruction of this episode's own
        self._count += 1
        episode = Episode(
            episode_id=f"inprocess-{self._count}",
            task=spec.task,
            seed=seed,
            instruction=spec.instruction,
            start_ns=self._clock.start(),
            max_steps=self._max_steps,
            robot=spec.robot,
            source=spec.name,
        )
        tally = EpisodeTally(time.monotonic())
        self.actions = []
        self._underway.clear()
        self._plays_until = 0
        self._source.reset(episode, run)
        self._core.on_episode(episode)
        film = Film() if video is not None else None
        step, success, rendered = 0, observation.success, True
        while step < self._max_steps:
            if film is not None:
                film.add(observation)
            stamped = stamp_observation(observation, self._clock.stamp(step), episode.episode_id, rendered)
            action = self._control_step(stamped, step, tally)
            rendered = self._render_all or film is not None or self._wants_images(step + 1)
            observation = self._world.step(action.applied, render=rendered)
            step, success = step + 1, observation.success
            if success:
                break
        phase = EpisodePhase.SUCCESS if success else EpisodePhase.FAILURE
        ended = replace(episode, phase=phase, step=step)
        self._core.on_episode(ended)
        trial = Trial(seed, init_state, run)
        if self._save_to is not None:
            tally.save(actions_path(self._save_to, trial), step)
        result = replace(tally.result(ended, time.monotonic()), init_state=init_state, run=run)
        if film is not None and video is not None:
            film.add(observation)
            film.write(video, ended, self.actions, 1e9 / spec.control_period_ns)
        return result, tally.latencies

    def _control_step(self, stamped: StampedObservation, step: int, tally: EpisodeTally) -> AppliedAction:
        """Turn one observation into one applied action, as the controller and policy nodes do it between them."""
        tally.observed(stamped.robot.stamp_ns, time.monotonic())
        self._core.on_state(stamped.robot, stamped.robot.stamp_ns)
        act = self._lockstep_action if self._waits else self._realtime_action
        action = act(stamped, step, tally)
        tally.applied(action, time.monotonic())
        self._source.applied(action)
        self.actions.append(action)
        return action

    def _lockstep_action(self, stamped: StampedObservation, step: int, tally: EpisodeTally) -> AppliedAction:
        now_ns = stamped.robot.stamp_ns
        action = self._core.tick(now_ns)
        chunk = self._source.observe(stamped, step, action is not None)
        if chunk is not None:
            tally.chunk(chunk, time.monotonic())
            self._source.delivered(now_ns)
            ack = self._core.on_chunk(chunk, now_ns)
            action = action or self._core.tick(now_ns)
            if action is None:
                raise UserError(f"the controller refused the chunk of step {step}: {ack.detail}")
        if action is None:
            raise UserError(f"nobody answered the observation of step {step}")
        return action

    def _realtime_action(self, stamped: StampedObservation, step: int, tally: EpisodeTally) -> AppliedAction:
        now_ns = stamped.robot.stamp_ns
        self._deliver(step, now_ns)
        active = bool(self._underway) or step < self._plays_until
        chunk = self._source.observe(stamped, step, active)
        if chunk is not None:
            tally.chunk(chunk, time.monotonic())
            self._underway.append((step + self._delay_steps, chunk))
            self._deliver(step, now_ns)
        action = self._core.tick(now_ns)
        if action is None:
            raise UserError(f"the controller stopped at step {step}: {self._core.status.detail}")
        return action

    def _deliver(self, step: int, now_ns: int) -> None:
        """Hand over the chunks whose delay is over; a refused one is lost, as it is in the graph."""
        while self._underway and self._underway[0][0] <= step:
            _, chunk = self._underway.popleft()
            self._source.delivered(now_ns)
            self._core.on_chunk(chunk, now_ns)
            self._plays_until = step + chunk.execute_steps

    def _wants_images(self, next_step: int) -> bool:
        # A chunk that arrives at the next step may make a new observation due right then.
        arriving = bool(self._underway) and self._underway[0][0] <= next_step
        return self._source.needs_images or (arriving and self._source.looks_at_images)


def armed_controller(spec: EvaluationSpec) -> ControllerCore:
    """Return a controller that is configured as that of an evaluation's graph would be, and armed.

    Raises:
        UserError: It cannot be armed.
    """
    words = [f"sim:={spec.sim}", f"task:={spec.task}", "policy:=expert", f"output_dir:={spec.out}"]
    words += [f"pace:={spec.pace}", f"execution:={spec.execution}"]
    core = ControllerCore(controller_config(build_graph(parse_arguments(words)).node("controller_node")))
    if not core.auto_arm():
        raise UserError(f"the controller could not be armed: {core.status.detail}")
    return core


class Stage:
    """The world and the policy of one process, kept for the next evaluation if it needs the same ones; close it.

    Args:
        connection: Where to ask for chunks when the policy is shared (EvaluationSpec.batch).
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection
        self._world: World | None = None
        self._world_key: tuple[object, ...] = ()
        self._policy: ChunkPolicy | None = None
        self._policy_key: tuple[object, ...] = ()
        self._client: LerobotClient | None = None

    def close(self) -> None:
        """Free the world and end the process of a policy that has one."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._close_world()

    def _close_world(self) -> None:
        if self._world is not None:
            self._world.close()
            self._world = None

    def session(self, spec: EvaluationSpec, *, film: bool = False) -> InProcess:
        """Return episodes of an evaluation, with a controller that is configured as the graph's would be.

        Args:
            spec: What to evaluate.
            film: Episodes will be filmed, so the world must be able to draw.

        Raises:
            UserError: World or policy cannot be made, or the controller cannot be armed.
        """
        core = armed_controller(spec)
        # Nobody looks at the images unless the policy does, and rendering is most of a step.
        render = film or policy_kind(spec.policy).sees_images
        world = self._make_world(spec.sim, spec.task, picture_size(spec.policy), render=render)
        world = perturbed(world, parse_condition(spec.perturbation), instructions(spec.sim, spec.task))
        return InProcess(
            world,
            core,
            self._make_source(spec, world, core),
            max_steps=spec.max_steps,
            save_to=spec.out if spec.save_actions else None,
            delay_steps=spec.delay_steps,
        )

    def _make_world(self, sim: str, task: str, image_size: int, *, render: bool) -> World:
        key = (sim, task, image_size, render)
        if self._world is None or self._world_key != key:
            self._close_world()
            self._world, self._world_key = make_world(sim, task, image_size=image_size, render=render), key
        return self._world

    def _make_source(self, spec: EvaluationSpec, world: World, core: ControllerCore) -> ChunkSource:
        period_ns = world.spec.control_period_ns
        lockstep = spec.pace == "lockstep"
        match spec.policy:
            case "physgen" if spec.checkpoint is not None:
                policy = self._make_policy(spec, spec.checkpoint, world)
                return PolicySource(policy, period_ns, lockstep=lockstep, lead_steps=spec.lead_steps)
            case "lerobot" if spec.checkpoint is not None:
                return LerobotSource(self._make_client(spec.checkpoint), period_ns)
            case "expert":
                return ExpertSource(spec.sim, spec.task, period_ns)
            case "random":
                return RandomSource(core.config)
            case "replay" if spec.bag_dir is not None:
                return ReplaySource(spec.bag_dir, period_ns)
            case own if is_own(own):
                folder = "" if spec.checkpoint is None else str(spec.checkpoint)
                return OwnPolicySource.of(own, period_ns, checkpoint=folder, lockstep=lockstep)
        raise UserError(f"policy {spec.policy!r} cannot run in-process")

    def _make_client(self, checkpoint: Path) -> LerobotClient:
        if self._client is None or self._client.description.folder != checkpoint:
            if self._client is not None:
                self._client.close()
            self._client = open_client(checkpoint)
        return self._client

    def _make_policy(self, spec: EvaluationSpec, checkpoint: Path, world: World) -> ChunkPolicy:
        key = (checkpoint, spec.batch, spec.task, spec.any_task, world.spec.robot)
        if self._policy is None or self._policy_key != key:
            if spec.batch and self._connection is not None:
                self._policy = RemotePolicy(self._connection)
            else:
                period_ns = world.spec.control_period_ns
                task = "" if spec.any_task else spec.task
                self._policy = load_chunk_policy(checkpoint, task, world.spec.robot, period_ns)
            self._policy_key = key
        return self._policy
