# SPDX-License-Identifier: Apache-2.0
"""The rollout node of a real arm, as a process: without a recorder it owns the episode, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from node_rig import NodeProbe, node_starter  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from value_strategies import make_action, make_episode  # noqa: E402

from physgen_control.messages import topics  # noqa: E402
from physgen_control.nodes import conversions, qos  # noqa: E402
from physgen_control.types import Episode, EpisodePhase, SafetyState  # noqa: E402
from physgen_msgs.action import RunPolicy  # noqa: E402
from physgen_msgs.msg import AppliedAction, EpisodeInfo, PolicyStatus, SafetyStatus  # noqa: E402
from physgen_msgs.srv import ResetEnv  # noqa: E402

pytestmark = pytest.mark.ros
DOMAIN = 43


class Arm(NodeProbe):
    """What the node hears and asks: safety and policy status, control steps, /physgen/hold."""

    def __init__(self) -> None:
        super().__init__("arm", DOMAIN)
        self.safety = self.node.create_publisher(SafetyStatus, topics.SAFETY_STATUS, qos.LATCHED)
        self.policy = self.node.create_publisher(PolicyStatus, topics.POLICY_STATUS, qos.LATCHED)
        self.applied = self.node.create_publisher(AppliedAction, topics.APPLIED_ACTION, qos.COMMAND)
        self.episodes: list[Episode] = []
        self.holds = 0
        self.can_hold = True
        self.feedback: list[Any] = []
        self.node.create_subscription(
            EpisodeInfo,
            topics.EPISODE_INFO,
            lambda message: self.episodes.append(conversions.episode_from_msg(message)),
            qos.LATCHED,
        )
        self.hold = self.node.create_service(Trigger, "/physgen/hold", self._on_hold)
        self.client = ActionClient(self.node, RunPolicy, "/physgen/run_policy")
        self.say(SafetyState.ARMED)
        self.policy.publish(PolicyStatus(ready=True))

    def _on_hold(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        del request
        self.holds += 1
        response.success = self.can_hold
        return response

    def say(self, state: SafetyState) -> None:
        self.safety.publish(SafetyStatus(state=int(state)))

    def ask(self, **goal: Any) -> Any:
        self.wait(self.client.server_is_ready, "the server")
        self.feedback.clear()
        sent = self.client.send_goal_async(
            RunPolicy.Goal(**goal), feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        self.wait(sent.done, "the answer")
        return sent.result()

    def result(self, handle: Any) -> RunPolicy.Result:
        future = handle.get_result_async()
        self.wait(future.done, "the result")
        return future.result().result

    def ready(self, **goal: Any) -> Any:
        """Ask until the node has heard of controller and policy; the handle of a goal that runs."""
        while True:
            handle = self.ask(**goal)
            future = handle.get_result_async()

            def begun(future: Any = future) -> bool:
                return future.done() or bool(self.feedback)

            self.wait(begun, "a beginning")
            if not future.done():
                return handle
            message = future.result().result.message
            assert "controller" in message or "not ready" in message, message

    def step(self, count: int) -> None:
        episode = replace(self.episodes[-1], seed=0)
        for number in range(count):
            self.applied.publish(conversions.applied_action_to_msg(make_action(episode, number)))


@pytest.fixture
def arm() -> Iterator[Arm]:
    with Arm() as arm:
        yield arm


@contextmanager
def started(*parameters: str) -> Iterator[subprocess.Popen[str]]:
    with node_starter(DOMAIN) as start:
        yield start("physgen_control.nodes.rollout_node", *parameters, options={"stderr": None})


@pytest.fixture
def node() -> Iterator[subprocess.Popen[str]]:
    with started("robot:=fr3") as process:
        yield process


def test_a_rollout_without_a_recorder_begins_and_ends_its_episode(
    arm: Arm, node: subprocess.Popen[str]
) -> None:
    handle = arm.ready(instruction="push the cube", max_steps=5)
    began = arm.episodes[-1]
    assert (began.phase, began.instruction, began.robot) == (EpisodePhase.RUNNING, "push the cube", "fr3")
    arm.wait(lambda: arm.applied.get_subscription_count(), "its subscription")
    arm.step(5)
    result = arm.result(handle)
    assert (result.termination, result.steps) == (RunPolicy.Result.STEP_LIMIT, 5)
    arm.wait(lambda: arm.episodes[-1].phase is EpisodePhase.FAILURE, "the end of the episode")
    assert arm.episodes[-1].episode_id == began.episode_id
    assert arm.holds == 0


def test_a_cancelled_rollout_asks_for_hold_and_ends_its_episode(
    arm: Arm, node: subprocess.Popen[str]
) -> None:
    handle = arm.ready(instruction="push")
    future = handle.cancel_goal_async()
    arm.wait(future.done, "the answer to a cancel")
    assert arm.result(handle).termination == RunPolicy.Result.CANCELLED
    assert arm.holds == 1
    arm.wait(lambda: arm.episodes[-1].phase is EpisodePhase.FAILURE, "the end of the episode")


def test_a_hold_that_nobody_confirms_is_not_claimed(arm: Arm, node: subprocess.Popen[str]) -> None:
    handle = arm.ready(instruction="push")
    arm.can_hold = False
    arm.wait(handle.cancel_goal_async().done, "the answer to a cancel")
    result = arm.result(handle)
    assert result.termination == RunPolicy.Result.CANCELLED
    assert "use the user stop" in result.message


def test_a_cancelled_rollout_ends_its_episode_before_anybody_holds(
    arm: Arm, node: subprocess.Popen[str]
) -> None:
    handle = arm.ready(instruction="push")
    arm.node.destroy_service(arm.hold)  # a controller that died
    result = handle.get_result_async()
    arm.wait(handle.cancel_goal_async().done, "the answer to a cancel")
    arm.wait(lambda: arm.episodes[-1].phase is EpisodePhase.FAILURE, "the end of the episode")
    assert not result.done()  # it waits for the controller still


def test_a_goal_that_is_cancelled_before_the_policy_is_ready_begins_nothing(
    arm: Arm, node: subprocess.Popen[str]
) -> None:
    arm.policy.publish(PolicyStatus(ready=False, detail="it loads"))
    handle = arm.ask(instruction="push")
    arm.wait(handle.cancel_goal_async().done, "the answer to a cancel")
    result = arm.result(handle)
    assert result.termination == RunPolicy.Result.CANCELLED
    assert result.message == "Cancelled before it began."
    assert not arm.episodes


def test_of_two_goals_at_once_one_is_taken(arm: Arm, node: subprocess.Popen[str]) -> None:
    arm.wait(arm.client.server_is_ready, "the server")
    sent = [arm.client.send_goal_async(RunPolicy.Goal(instruction=name)) for name in ("push", "pick")]
    arm.wait(lambda: all(future.done() for future in sent), "both answers")
    assert sorted(future.result().accepted for future in sent) == [False, True]


def test_a_node_that_is_stopped_ends_its_episode(arm: Arm, node: subprocess.Popen[str]) -> None:
    """Else the policy would go on with nobody to end it."""
    arm.ready(instruction="push")
    node.send_signal(signal.SIGINT)
    arm.wait(lambda: arm.episodes[-1].phase is EpisodePhase.FAILURE, "the end of the episode")
    assert node.wait(30) == 0


@pytest.mark.parametrize(
    ("state", "goal", "sentence"),
    [
        (SafetyState.DISARMED, {"instruction": "push"}, "The controller is DISARMED"),
        (SafetyState.ARMED, {"instruction": " "}, "needs an instruction"),
        (SafetyState.ARMED, {"instruction": "push", "record": True}, "launch with record:=true"),
    ],
)
def test_what_cannot_run_is_refused_with_a_sentence(
    arm: Arm, node: subprocess.Popen[str], state: SafetyState, goal: dict[str, Any], sentence: str
) -> None:
    handle = arm.ready(instruction="push")  # everybody knows everybody
    arm.wait(handle.cancel_goal_async().done, "the answer to a cancel")
    arm.result(handle)
    arm.say(state)
    result = arm.result(arm.ask(**goal))
    if state is not SafetyState.ARMED:  # the node may hear of it a moment later
        while sentence not in result.message and result.termination != RunPolicy.Result.ABORTED:
            result = arm.result(arm.ask(**goal))
    assert result.termination == RunPolicy.Result.ABORTED
    assert sentence in result.message
    assert replace(arm.episodes[-1], phase=EpisodePhase.RUNNING).instruction == "push"


def test_a_simulation_that_is_over_before_its_answer_was_heard_is_counted(arm: Arm) -> None:
    episodes = arm.node.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)

    def reset(request: ResetEnv.Request, response: ResetEnv.Response) -> ResetEnv.Response:
        del request
        episode = make_episode()
        episodes.publish(conversions.episode_to_msg(episode))
        for number in range(5):
            arm.applied.publish(conversions.applied_action_to_msg(make_action(episode, number)))
        episodes.publish(conversions.episode_to_msg(replace(episode, phase=EpisodePhase.SUCCESS, step=5)))
        assert arm.applied.wait_for_all_acked(Duration(seconds=10))
        response.success, response.episode_id = True, episode.episode_id
        return response

    arm.node.create_service(ResetEnv, "/physgen/reset_env", reset)
    with started("simulated:=true"):
        arm.wait(lambda: arm.applied.get_subscription_count(), "its subscription")
        result = arm.result(arm.ask(instruction=""))
    assert (result.success, result.steps) == (True, 5)
