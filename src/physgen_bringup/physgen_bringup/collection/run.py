# SPDX-License-Identifier: Apache-2.0
"""Records demonstrations of the scripted expert in one process: the same controller, messages and bags as the graph.

Bursts of pushes move the hand off its way, so that demonstrations contain recoveries; a learned policy may lead
the first chunks, so that they contain recoveries from its own mistakes (DAgger, arXiv 1011.0686, with the expert taking
over as in HG-DAgger, arXiv 1810.02890). Applied actions are what the world executed; pushed and led ones carry
Limit.DISTURBANCE, which keeps them from becoming labels. Without both and without a tail a bag holds the same values as
one recorded from the live graph, or, with pictures at every N-th control step only, the same without the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from physgen_bringup.episode.sources import ChunkSource, PolicySource
from physgen_bringup.episode.stamped_observation import CAMERA_FRAME, StampedObservation, stamp_observation
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_control.bags.serialize import PICTURE_EVERY, CameraSpec, EpisodeBag
from physgen_control.controller.core import ControllerCore
from physgen_control.controller_config import ControllerConfig
from physgen_control.errors import UserError
from physgen_control.geometry import moved
from physgen_control.types import (
    HORIZON,
    PICTURE_INTERVALS,
    ActionChunk,
    AppliedAction,
    Episode,
    EpisodePhase,
    Float32Array,
    Limit,
    RobotState,
)
from physgen_sim_bridge.clock import EpisodeClock
from physgen_sim_bridge.disturbance import Disturbance, DisturbanceConfig
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.registry import make_world
from physgen_sim_bridge.world import DRAWN, Expert, World


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionConfig:
    """How demonstrations are made."""

    disturbance: DisturbanceConfig = field(default_factory=DisturbanceConfig)
    tail_steps: int = 0
    """Control steps recorded after the first success, so that the data says what to do then."""
    led_chunks: int = 4
    """Most chunks that the leading policy executes before the expert takes over; each episode draws its number, at
    least 1."""
    max_steps: int = 0
    """Control steps; 0 means the task's default."""
    picture_every: int = 1
    """The world is drawn before control steps 0, N, 2 N, ... only, and observations between them are recorded without
    pictures; bursts of pushes end before a picture."""

    def __post_init__(self) -> None:
        if self.picture_every not in PICTURE_INTERVALS:
            raise UserError(
                f"--picture-every must divide the {HORIZON} control steps of a chunk "
                f"({', '.join(map(str, PICTURE_INTERVALS))}), got {self.picture_every}"
            )


@dataclass(frozen=True, slots=True)
class CollectedEpisode:
    """What came of one seed."""

    seed: int
    success: bool
    steps: int
    path: Path


class Collector:
    """Runs the expert in its own world, behind a leading policy if there is one; owns all. Not thread-safe."""

    def __init__(
        self,
        world: World,
        expert: Expert,
        controller: ControllerConfig,
        config: CollectionConfig,
        leader: ChunkSource | None = None,
    ) -> None:
        self._world, self._expert, self._config = world, expert, config
        self._leader = leader
        self._core = ControllerCore(controller)
        self._disturbance = Disturbance(config.disturbance, ends_every=config.picture_every)
        self._clock = EpisodeClock(world.spec.control_period_ns)

    def collect(self, seed: int, folder: Path) -> CollectedEpisode:
        """Record the episode of `seed` into folder/<task>_<seed>; its outcome is in the bag, failures are kept too.

        The scene is drawn: where a benchmark stores initial states, evaluations start from those.

        Raises:
            UserError: The bag cannot be written, or policy or controller failed.
        """
        spec, config = self._world.spec, self._config
        path = folder / bag_name(spec.task, seed)
        rng = np.random.default_rng((seed, 0x9E37))
        observation = self._world.reset(seed, DRAWN)
        self._expert.reset()
        self._disturbance.reset(rng)
        led_steps = HORIZON * int(rng.integers(1, config.led_chunks + 1)) if self._leader else 0
        max_steps = config.max_steps or spec.default_max_steps
        episode = Episode(
            episode_id=f"collect-{flat_name(spec.task)}-{seed}",
            task=spec.task,
            seed=seed,
            instruction=spec.instruction,
            start_ns=self._clock.start(),
            max_steps=max_steps,
            robot=spec.robot,
            source=spec.name,
        )
        self._core.on_episode(episode)
        if self._leader is not None:
            self._leader.reset(episode)
        bag = EpisodeBag(
            path,
            episode,
            self._cameras(),
            joint_prefix=spec.robot,
            extra={
                "collector": "in-process",
                "disturbance": repr(config.disturbance),
                "tail_steps": str(config.tail_steps),
                "led_steps": str(led_steps),
                PICTURE_EVERY: str(config.picture_every),
            },
        )
        with bag:
            step, success_step = 0, -1
            while True:
                drawn = step % config.picture_every == 0
                stamped = stamp_observation(observation, self._clock.stamp(step), episode.episode_id, drawn)
                bag.add_observation(
                    stamped.robot.stamp_ns,
                    observation.rgb_fixed if drawn else None,
                    observation.rgb_wrist if drawn else None,
                    stamped.robot,
                    stamped.sim,
                )
                if observation.success and success_step < 0:
                    success_step = step
                finished = success_step >= 0 and step >= success_step + config.tail_steps
                if finished or step >= max_steps:
                    break
                self._core.on_state(stamped.robot, stamped.robot.stamp_ns)
                self._core.auto_arm()
                if step < led_steps:
                    action = self._led_step(bag, stamped, step)
                else:
                    action = self._expert_step(episode, bag, stamped, step, rng)
                bag.add_applied(action)
                if step < led_steps and self._leader is not None:
                    self._leader.applied(action)
                step += 1
                observation = self._world.step(action.applied, render=step % config.picture_every == 0)
            success = success_step >= 0
            outcome = EpisodePhase.SUCCESS if success else EpisodePhase.FAILURE
            self._core.on_episode(replace(episode, phase=outcome, step=step))
            bag.finish(outcome, step=step, extra={"success_step": str(success_step)})
        return CollectedEpisode(seed, success, step, path)

    def _expert_step(
        self,
        episode: Episode,
        bag: EpisodeBag,
        stamped: StampedObservation,
        step: int,
        rng: np.random.Generator,
    ) -> AppliedAction:
        """Pass the expert's action through the controller and push the hand off what comes out of it."""
        robot, sim, now_ns = stamped.robot, stamped.sim, stamped.robot.stamp_ns
        label = self._expert.act(sim.objects, robot.tcp_pose, sim.gripper_width)
        chunk = ActionChunk.of(
            label[None],
            session_id=episode.episode_id,
            episode_id=episode.episode_id,
            chunk_seq=step,
            base_step=step,
            stamp_ns=now_ns,
            step_period_ns=self._world.spec.control_period_ns,
            instruction=episode.instruction,
            policy_id="expert",
        )
        action = self._offer(bag, chunk, now_ns)
        executed = self._disturbance.apply(action.applied, rng)
        return action if executed is None else disturbed(action, executed, robot)

    def _led_step(self, bag: EpisodeBag, stamped: StampedObservation, step: int) -> AppliedAction:
        """Let the leading policy act; its steps are flagged, for they show not what the expert would do.

        Raises:
            UserError: The leading policy did not answer.
        """
        assert self._leader is not None
        now_ns = stamped.robot.stamp_ns
        action = self._core.tick(now_ns)
        chunk = self._leader.observe(stamped, step, action is not None)
        if chunk is not None:
            self._leader.delivered(now_ns)
            action = self._offer(bag, chunk, now_ns)
        if action is None:
            raise UserError(f"the leading policy did not answer the observation of step {step}")
        return replace(action, limits=action.limits | Limit.DISTURBANCE)

    def _offer(self, bag: EpisodeBag, chunk: ActionChunk, now_ns: int) -> AppliedAction:
        """Give a chunk to the controller, record both sides and return its first action.

        Raises:
            UserError: The controller did not execute the chunk.
        """
        bag.add_chunk(chunk)
        ack = self._core.on_chunk(chunk, now_ns)
        bag.add_ack(ack)
        action = self._core.tick(now_ns)
        if action is None or not action.executed:
            raise UserError(f"the controller did not execute chunk {chunk.chunk_seq}: {ack.detail}")
        return action

    def _cameras(self) -> dict[str, CameraSpec]:
        spec = self._world.spec
        return {
            camera.name: CameraSpec(
                frame_id=CAMERA_FRAME.format(camera.name),
                intrinsics=np.array(camera.matrix()).reshape(3, 3),
            )
            for camera in (spec.fixed_camera, spec.wrist_camera)
        }


def flat_name(task: str) -> str:
    """Return a task's name as part of a file name: libero_object/3 is libero_object-3."""
    return task.replace("/", "-")


def bag_name(task: str, seed: int) -> str:
    """Return the name of the folder that holds the episode of a seed."""
    return f"{flat_name(task)}_{seed:06d}"


def disturbed(action: AppliedAction, executed: Float32Array, robot: RobotState) -> AppliedAction:
    """Return the same control step, but with `executed` (canonical, float32 [7]) as what the arm did, as no label."""
    return replace(
        action,
        applied=executed,
        target_pose=moved(robot.tcp_pose, executed[:6].astype(np.float64)),
        limits=action.limits | Limit.DISTURBANCE,
    )


def make_collector(
    sim: str,
    task: str,
    *,
    tail_steps: int,
    disturbance: DisturbanceConfig,
    leader: Path | None = None,
    led_chunks: int = 4,
    picture_every: int = 1,
) -> Collector:
    """Build world, expert and controller of a collection, configured as the graph would be.

    Args:
        sim: Simulator.
        task: Task of the simulator.
        tail_steps: Control steps recorded after the first success.
        disturbance: How the hand is pushed.
        leader: Checkpoint folder of the policy that leads the first chunks of every episode; None: the expert alone.
        led_chunks: Most chunks that it executes.
        picture_every: Control steps from one picture to the next.

    Raises:
        UserError: Task or checkpoint cannot be used.
    """
    words = [f"sim:={sim}", f"task:={task}", "policy:=expert"]
    controller = controller_config(build_graph(parse_arguments(words)).node("controller_node"))
    config = CollectionConfig(
        disturbance=disturbance, tail_steps=tail_steps, led_chunks=led_chunks, picture_every=picture_every
    )
    world = make_world(sim, task)
    source = None
    if leader is not None:
        source = PolicySource.load(leader, task, world.spec.robot, world.spec.control_period_ns)
    return Collector(world, make_expert(sim, task), controller, config, source)


def one_action_chunk(
    episode: Episode, action: Float32Array, step: int, now_ns: int, period_ns: int
) -> ActionChunk:
    """Return the chunk of a scripted expert: one action, re-planned every control step."""
    return ActionChunk(
        session_id=episode.episode_id,
        episode_id=episode.episode_id,
        chunk_seq=step,
        base_step=step,
        stamp_ns=now_ns,
        observation_stamp_ns=now_ns,
        inference_start_ns=now_ns,
        inference_end_ns=now_ns,
        valid_until_ns=0,
        step_period_ns=period_ns,
        data=np.asarray(action, np.float32).reshape(1, 1, -1),
        execute_steps=1,
        instruction=episode.instruction,
        policy_id="expert",
    )
