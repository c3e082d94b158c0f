# SPDX-License-Identifier: Apache-2.0
"""Records demonstrations of the scripted expert in one process: the same controller, messages and bags as the graph.

Bursts of disturbance push the hand off its way, so that demonstrations contain recoveries. Applied actions are always
what the world executed; disturbed ones carry Limit.DISTURBANCE, which keeps them from becoming labels. Without
disturbance and tail a bag holds the same values as one recorded from the live graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from physgen_bringup.chunk_sources import CAMERA_FRAME
from physgen_bringup.controller_setup import controller_config
from physgen_bringup.graph import build_graph
from physgen_bringup.inprocess import stamp_observation
from physgen_bringup.launch_arguments import parse_arguments
from physgen_control.bags.serialize import CameraSpec, EpisodeBag
from physgen_control.controller_config import ControllerConfig
from physgen_control.controller_core import ControllerCore
from physgen_control.errors import UserError
from physgen_control.geometry import moved
from physgen_control.types import (
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
from physgen_sim_bridge.experts import Expert, make_expert
from physgen_sim_bridge.registry import make_world
from physgen_sim_bridge.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionConfig:
    """How demonstrations are made.

    tail_steps: control steps recorded after the first success, so that the data says what to do then.
    max_steps: 0 means the task's default.
    """

    disturbance: DisturbanceConfig = field(default_factory=DisturbanceConfig)
    tail_steps: int = 0
    max_steps: int = 0


@dataclass(frozen=True, slots=True)
class CollectedEpisode:
    """What came of one seed."""

    seed: int
    success: bool
    steps: int
    path: Path


class Collector:
    """Runs the expert in its own world; owns both. Not thread-safe."""

    def __init__(
        self, world: World, expert: Expert, controller: ControllerConfig, config: CollectionConfig
    ) -> None:
        self._world, self._expert, self._config = world, expert, config
        self._core = ControllerCore(controller)
        self._disturbance = Disturbance(config.disturbance)
        self._clock = EpisodeClock(world.spec.control_period_ns)

    def collect(self, seed: int, folder: Path) -> CollectedEpisode:
        """Record the episode of `seed` into folder/<task>_<seed>; its outcome is in the bag, failures are kept too."""
        spec, config = self._world.spec, self._config
        path = folder / f"{spec.task}_{seed:06d}"
        rng = np.random.default_rng((seed, 0x9E37))
        observation = self._world.reset(seed)
        self._expert.reset()
        self._disturbance.reset(rng)
        max_steps = config.max_steps or spec.default_max_steps
        episode = Episode(
            episode_id=f"collect-{spec.task}-{seed}",
            task=spec.task,
            seed=seed,
            instruction=spec.instruction,
            start_ns=self._clock.start(),
            max_steps=max_steps,
            robot=spec.robot,
            source=spec.name,
        )
        self._core.on_episode(episode)
        bag = EpisodeBag(
            path,
            episode,
            self._cameras(),
            joint_prefix=spec.robot,
            extra={
                "collector": "in-process",
                "disturbance": repr(config.disturbance),
                "tail_steps": str(config.tail_steps),
            },
        )
        with bag:
            step, success_step = 0, -1
            while True:
                stamped = stamp_observation(observation, self._clock.stamp(step), episode.episode_id)
                bag.add_observation(
                    stamped.robot.stamp_ns,
                    observation.rgb_fixed,
                    observation.rgb_wrist,
                    stamped.robot,
                    stamped.sim,
                )
                if observation.success and success_step < 0:
                    success_step = step
                finished = success_step >= 0 and step >= success_step + config.tail_steps
                if finished or step >= max_steps:
                    break
                label = self._expert.act(
                    stamped.sim.objects, stamped.robot.tcp_pose, stamped.sim.gripper_width
                )
                applied = self._control_step(episode, bag, label, step, stamped.robot, rng)
                observation = self._world.step(applied)
                step += 1
            success = success_step >= 0
            outcome = EpisodePhase.SUCCESS if success else EpisodePhase.FAILURE
            self._core.on_episode(replace(episode, phase=outcome, step=step))
            bag.finish(outcome, step=step, extra={"success_step": str(success_step)})
        return CollectedEpisode(seed, success, step, path)

    def _control_step(
        self,
        episode: Episode,
        bag: EpisodeBag,
        label: Float32Array,
        step: int,
        robot: RobotState,
        rng: np.random.Generator,
    ) -> Float32Array:
        """Pass the expert's action through the controller, disturb what comes out of it and record all of it."""
        now_ns = robot.stamp_ns
        self._core.on_state(robot, now_ns)
        self._core.auto_arm()
        chunk = one_action_chunk(episode, label, step, now_ns, self._world.spec.control_period_ns)
        bag.add_chunk(chunk)
        ack = self._core.on_chunk(chunk, now_ns)
        bag.add_ack(ack)
        action = self._core.tick(now_ns)
        if action is None or not action.executed:
            raise UserError(
                f"the controller did not execute the expert's action of step {step}: {ack.detail}"
            )
        executed = self._disturbance.apply(action.applied, rng)
        if executed is not None:
            action = disturbed(action, executed, robot)
        bag.add_applied(action)
        return action.applied

    def _cameras(self) -> dict[str, CameraSpec]:
        spec = self._world.spec
        return {
            camera.name: CameraSpec(
                frame_id=CAMERA_FRAME.format(camera.name),
                intrinsics=np.array(camera.matrix(spec.image_size)).reshape(3, 3),
            )
            for camera in (spec.fixed_camera, spec.wrist_camera)
        }


def disturbed(action: AppliedAction, executed: Float32Array, robot: RobotState) -> AppliedAction:
    """The same control step, but with `executed` (canonical, float32 [7]) as what the arm did, flagged as no label."""
    return replace(
        action,
        applied=executed,
        target_pose=moved(robot.tcp_pose, executed[:6].astype(np.float64)),
        limits=action.limits | Limit.DISTURBANCE,
    )


def make_collector(sim: str, task: str, *, tail_steps: int, disturbance: DisturbanceConfig) -> Collector:
    """Build world, expert and controller of a collection, configured as the graph would be."""
    words = [f"sim:={sim}", f"task:={task}", "policy:=expert"]
    controller = controller_config(build_graph(parse_arguments(words)).node("controller_node"))
    config = CollectionConfig(disturbance=disturbance, tail_steps=tail_steps)
    return Collector(make_world(sim, task), make_expert(task), controller, config)


def one_action_chunk(
    episode: Episode, action: Float32Array, step: int, now_ns: int, period_ns: int
) -> ActionChunk:
    """The chunk of a scripted expert: one action, re-planned every control step."""
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
