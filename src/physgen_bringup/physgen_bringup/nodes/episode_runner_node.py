# SPDX-License-Identifier: Apache-2.0
"""Runs the episodes of an evaluation through the graph: waits for everybody, resets, counts, writes.

It commands nothing and knows nothing of policies or worlds; when the last episode is over, it exits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from physgen_bringup.episode.tally import EpisodeTally, actions_path, crashed_result
from physgen_bringup.graph.policy_kinds import policy_kind
from physgen_bringup.results import results
from physgen_bringup.results.rules import make_protocol
from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.messages.read import json_object_from_msg
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    action_chunk_from_msg,
    applied_action_from_msg,
    episode_from_msg,
    stamp_to_ns,
)
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.nodes.stop_signals import StopSignals
from physgen_control.program.parameter_field import parameter
from physgen_control.program.progress import Progress, Stage
from physgen_control.types import Episode, EpisodePhase
from physgen_msgs.msg import ActionChunk, AppliedAction, EpisodeInfo, PolicyStatus, SafetyStatus
from physgen_msgs.srv import ResetEnv

SPIN_S = 0.1
MAX_CONSECUTIVE_CRASHES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRunnerConfig:
    """Parameters of the node; texts as in the launch arguments."""

    sim: str = parameter("fake", description="Simulator name")
    task: str = parameter("FakePush-v0", description="Environment id")
    policy: str = parameter("expert", description="Who acts, as in the launch arguments")
    checkpoint: str = parameter("", description="Checkpoint folder of the policy, for the record")
    pace: str = parameter("lockstep", description="Pace of the world", choices=("lockstep", "realtime"))
    execution: str = parameter("sync", description="Execution of chunks", choices=("sync", "pipelined"))
    episodes: int = parameter(1, description="Number of episodes", ge=1)
    seed: int = parameter(0, description="Seed of the first episode", ge=0)
    max_steps: int = parameter(0, description="Control steps per episode, 0 for the task's own limit", ge=0)
    perturb: str = parameter("", description="What the bridge changes of the world, for the record")
    output_dir: str = parameter("", description="Folder of the results")
    record: bool = parameter(False, description="A recorder belongs to the graph")
    save_actions: bool = parameter(False, description="Write the applied actions of each episode")
    ready_timeout: float = parameter(180.0, description="Longest wait for the other nodes", unit="s", ge=1.0)
    # Above the bridge's own limit, so that the bridge can say what was wrong.
    stall_timeout: float = parameter(
        90.0, description="An episode without any step for so long crashed", unit="s", ge=1.0
    )
    drain_timeout: float = parameter(
        2.0, description="Longest wait for late messages of an episode", unit="s", ge=0.0
    )
    recorder_timeout: float = parameter(
        20.0, description="Longest wait for the recorder to complete a bag", unit="s", ge=0.0
    )


class NotReadyError(UserError):
    """Some node did not come up in time; the text names it."""


class EpisodeRunner(GuardedNode):
    """Feeds an EpisodeTally from the topics and drives the world's reset service."""

    def __init__(self) -> None:
        super().__init__("episode_runner_node")
        self.config = declare_from(self, EpisodeRunnerConfig)
        self.episode: Episode | None = None
        self.safety: SafetyStatus | None = None
        self.policy: PolicyStatus | None = None
        self.tally: EpisodeTally | None = None
        self.recorder: dict[str, str] = {}
        self._last_progress_s = 0.0
        self._over: set[str] = {""}
        self._reset = self.create_client(ResetEnv, topics.RESET_ENV)
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)
        self.create_subscription(SafetyStatus, topics.SAFETY_STATUS, self._on_safety, qos.LATCHED)
        self.create_subscription(PolicyStatus, topics.POLICY_STATUS, self._on_policy, qos.LATCHED)
        self.create_subscription(String, topics.RECORDER_STATUS, self._on_recorder, qos.LATCHED)
        self.create_subscription(ActionChunk, topics.ACTION_CHUNK, self._on_chunk, qos.COMMAND)
        self.create_subscription(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.RECORDER)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, qos.LOCKSTEP_READER)
        # The local runner shows this node's output, ros2 launch the screen: lines, no bars.
        self.progress = Progress(bars=False)
        self.stop_requested: Callable[[], bool] = lambda: False
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def run(self) -> int:
        """Run all episodes that are missing in the results; return the exit status.

        Raises:
            UserError: A node is missing, the results are others, or several episodes crashed in a row.
        """
        config = self.config
        folder = Path(config.output_dir or "runs/episodes").expanduser()
        seeds = range(config.seed, config.seed + config.episodes)
        protocol = make_protocol(
            sim=config.sim,
            task=config.task,
            policy=config.policy,
            checkpoint=Path(config.checkpoint) if config.checkpoint else None,
            pace=config.pace,
            execution=config.execution,
            max_steps=config.max_steps,
            transport="ros",
            perturbation=config.perturb,
        )
        evaluation = results.open_evaluation(folder, protocol)
        missing = evaluation.missing(seeds)
        with self.progress.stage("waiting for the nodes") as stage:
            self.wait_until_ready(lambda: stage.update(info="; ".join(self._missing())))
        say = self.progress.say
        say(f"All nodes are ready; {len(missing)} of {len(seeds)} episodes to run.")
        crashes = 0
        for index, seed in enumerate(missing):
            with self.progress.stage(f"seed {seed}, episode {index + 1} of {len(missing)}") as stage:
                result = self.run_episode(seed, folder, stage)
            evaluation.add(result)
            if self.tally is not None:
                evaluation.latencies.extend(self.tally.latencies)
            evaluation.write(folder)
            outcome = results.outcome(result)
            progress = results.progress_line(evaluation.episodes, len(missing) - index - 1)
            say(f"seed {seed}: {outcome}, {result.steps} steps, {result.wall_s:.1f} s; {progress}")
            crashes = crashes + 1 if result.crashed else 0
            if crashes == MAX_CONSECUTIVE_CRASHES:
                raise UserError(f"{crashes} episodes crashed in a row, the last one because: {result.error}")
        evaluation.write(folder)
        self.progress.result(results.markdown(evaluation))
        return 1 if results.summarize(evaluation.episodes)["crashes"] else 0

    def wait_until_ready(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Spin until every node of the graph is there and able to act; `waiting` is called while one is not.

        Raises:
            NotReadyError: Names who is missing after ready_timeout.
        """

        def ready() -> bool:
            waiting()
            return not self._missing()

        if not self._spin_until(ready, self.config.ready_timeout):
            missing = "; ".join(self._missing())
            raise NotReadyError(
                f"the graph was not ready in {self.config.ready_timeout:.0f} s: {missing}; look at the logs"
            )

    def run_episode(self, seed: int, folder: Path, stage: Stage) -> results.EpisodeResult:
        """Reset the world with `seed` and watch the episode until its end; the stage is told the steps."""
        started = time.monotonic()
        if self.episode is not None:
            self._over.add(self.episode.episode_id)
        self.tally = tally = EpisodeTally(started)
        request = ResetEnv.Request(
            task=self.config.task, seed=seed, init_state=-1, max_steps=self.config.max_steps
        )
        future = self._reset.call_async(request)
        if not self._spin_until(future.done, self.config.stall_timeout):
            return crashed_result(
                seed,
                f"the world did not answer a reset within {self.config.stall_timeout:.0f} s",
                time.monotonic() - started,
            )
        response = future.result()
        if response is None or not response.success:
            message = response.message if response is not None else "the reset service failed"
            return crashed_result(seed, message, time.monotonic() - started)
        tally.started_s = self._last_progress_s = time.monotonic()
        episode_id = response.episode_id

        def over() -> bool:
            stage.update(info=f"{len(tally.actions)} steps")
            return self._ended(episode_id) or self._stalled()

        ended = self._spin_until(over, None)
        episode = self.episode
        if not ended or episode is None or not self._ended(episode_id):
            return crashed_result(
                seed,
                f"no control step happened for {self.config.stall_timeout:.0f} s",
                time.monotonic() - tally.started_s,
                tally.complete_steps,
            )
        wall_s = time.monotonic()
        self._spin_until(lambda: tally.complete_steps >= episode.step, self.config.drain_timeout)
        result = tally.result(episode, wall_s)
        if self.config.save_actions:
            tally.save(actions_path(folder, seed), episode.step)
        if self.config.record and not self._spin_until(
            lambda: self._recorded(episode_id), self.config.recorder_timeout
        ):
            self.progress.say(
                f"seed {seed}: the recorder did not complete its bag ({self.recorder.get('detail', 'silent')})"
            )
        return result

    def _recorded(self, episode_id: str) -> bool:
        """Return whether the bag is complete, or the recorder said why there is none.

        Before that the next episode could cut it short.
        """
        ours = self.recorder.get("episode_id") == episode_id and self.recorder.get("state") == "ready"
        return ours or self.recorder.get("state") == "error"

    def _ended(self, episode_id: str) -> bool:
        terminal = (EpisodePhase.SUCCESS, EpisodePhase.FAILURE, EpisodePhase.DISCARDED, EpisodePhase.CRASHED)
        return (
            self.episode is not None
            and self.episode.episode_id == episode_id
            and self.episode.phase in terminal
        )

    def _stalled(self) -> bool:
        return time.monotonic() - self._last_progress_s > self.config.stall_timeout

    def _missing(self) -> list[str]:
        """Return sentences about what is not ready; empty when all is."""
        missing = []
        if not self._reset.service_is_ready():
            missing.append("bridge_node offers no /physgen/reset_env")
        usable = (SafetyStatus.ARMED, SafetyStatus.SHADOW, SafetyStatus.HOLD)
        if self.safety is None:
            missing.append("controller_node has not reported a state")
        elif self.safety.state not in usable:
            missing.append(f"controller_node is not armed ({self.safety.detail or 'no detail'})")
        policy_node = policy_kind(self.config.policy).node or "the external policy"
        if self.policy is None and self.config.policy == "external":
            # Somebody else's node need not report a state; it must be there.
            if not self.count_publishers(topics.ACTION_CHUNK):
                missing.append(f"nobody publishes {topics.ACTION_CHUNK}; start your policy's node")
        elif self.policy is None:
            missing.append(f"{policy_node} has not reported a state")
        elif not self.policy.ready:
            missing.append(f"{policy_node} is not ready ({self.policy.detail or 'no detail'})")
        if self.config.record and self.recorder.get("state") != "ready":
            missing.append(f"recorder_node is not ready ({self.recorder.get('detail', 'no detail')})")
        return missing

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not condition():
            if self.stop_requested():
                raise ExternalShutdownException
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=SPIN_S)
        return True

    def _on_episode(self, message: EpisodeInfo) -> None:
        self.episode = episode_from_msg(message)
        self._last_progress_s = time.monotonic()

    def _on_safety(self, message: SafetyStatus) -> None:
        self.safety = message

    def _on_recorder(self, message: String) -> None:
        self.recorder = json_object_from_msg(message, "recorder's status")

    def _on_policy(self, message: PolicyStatus) -> None:
        self.policy = message

    def _on_joints(self, message: JointState) -> None:
        if self.tally is not None:
            self.tally.observed(stamp_to_ns(message.header.stamp), time.monotonic())

    def _on_chunk(self, message: ActionChunk) -> None:
        if self.tally is not None:
            self.tally.chunk(action_chunk_from_msg(message), time.monotonic())

    def _on_applied(self, message: AppliedAction) -> None:
        # A late action of an episode before must not count in this one; one of this episode may come before
        # its info.
        if self.tally is None or message.episode_id in self._over:
            return
        self._last_progress_s = time.monotonic()
        self.tally.applied(applied_action_from_msg(message), self._last_progress_s)


def main(args: list[str] | None = None) -> None:
    """Run the node until its episodes are over."""
    status = 1

    def spin(node: EpisodeRunner, signals: StopSignals) -> None:
        nonlocal status
        status = 130
        node.stop_requested = lambda: signals.requested
        try:
            signals.defer()
            status = node.run()
        except UserError as error:
            status = 1
            node.progress.result(str(error))

    refused = run_node("episode_runner_node", EpisodeRunner, spin=spin, args=args)
    sys.exit(refused or status)


if __name__ == "__main__":
    main()
