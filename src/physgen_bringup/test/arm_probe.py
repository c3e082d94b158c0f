# SPDX-License-Identifier: Apache-2.0
"""A policy, an operator and a listener in the test process, for graphs with the fake Franka."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from graph_probe import GraphProbe
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import action_chunk_to_msg, chunk_ack_from_msg, sim_state_from_msg
from physgen_control.types import AckResult, ActionChunk, ChunkAck, Fault, SafetyState, SimState
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import ChunkAck as ChunkAckMsg
from physgen_msgs.msg import SimState as SimStateMsg

PERIOD_NS = 50_000_000


class ArmProbe(GraphProbe):
    """Sends chunks of float32[n, 7] actions and remembers what came of them."""

    def __init__(self, domain_id: int) -> None:
        super().__init__(domain_id)
        self.session = uuid.uuid4().hex
        self.sent = 0
        self.acks: list[ChunkAck] = []
        self.scene: SimState | None = None
        self.joints: Any = None
        self.trajectories: list[Any] = []
        create = self.node.create_subscription
        self._chunks = self.node.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
        create(ChunkAckMsg, topics.CHUNK_ACK, lambda m: self.acks.append(chunk_ack_from_msg(m)), qos.COMMAND)
        create(SimStateMsg, topics.SIM_STATE, self._on_scene, qos.SENSOR_READER)
        create(JointState, topics.JOINT_STATES, self._on_joints, qos.STATE_READER)
        create(JointTrajectory, topics.JOINT_TRAJECTORY, self.trajectories.append, qos.COMMAND)

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> float:
        """As GraphProbe.wait_for; a failure says what the controller said last."""
        try:
            return super().wait_for(condition, what, timeout_s)
        except AssertionError as error:
            answers = [(ack.result.name, ack.detail) for ack in self.acks[-2:]]
            raise AssertionError(
                f"{error}; {self.state}, {self.faults!r}: {self.detail}; {answers}"
            ) from error

    def _on_scene(self, message: Any) -> None:
        self.scene = sim_state_from_msg(message)

    def _on_joints(self, message: Any) -> None:
        self.joints = message

    @property
    def seen(self) -> SimState:
        """The scene, for who has waited for it."""
        assert self.scene is not None
        return self.scene

    @property
    def state(self) -> SafetyState | None:
        return SafetyState(self.safety[-1].state) if self.safety else None

    @property
    def faults(self) -> Fault:
        return Fault(self.safety[-1].faults) if self.safety else Fault.NONE

    @property
    def detail(self) -> str:
        return self.safety[-1].detail if self.safety else ""

    def said(self, words: str) -> bool:
        """Whether a status named this reason; a later one may have replaced it."""
        return any(words in status.detail for status in self.safety)

    def moving(self) -> bool:
        return self.joints is not None and np.max(np.abs(self.joints.velocity[:7])) > 0.02

    def resting(self) -> bool:
        return self.joints is not None and np.max(np.abs(self.joints.velocity[:7])) < 1e-3

    def send(self, actions: np.ndarray, **changes: Any) -> int:
        """Publish one chunk; `acked` says how it was answered."""
        self.sent += 1
        now_ns = int(self.node.get_clock().now().nanoseconds)
        step = self.applied[-1].step + 1 if self.applied else 0
        chunk = ActionChunk.of(
            actions,
            session_id=self.session,
            chunk_seq=self.sent,
            base_step=step,
            stamp_ns=now_ns,
            step_period_ns=PERIOD_NS,
        )
        self._chunks.publish(action_chunk_to_msg(replace(chunk, **changes)))
        return self.sent

    def ack(self, sequence: int) -> ChunkAck | None:
        return next((ack for ack in self.acks if ack.chunk_seq == sequence), None)

    def accepted(self, actions: np.ndarray, timeout_s: float = 30.0) -> float:
        """Send chunks until one is accepted (the arm settles after arming); returns the seconds it took."""
        pending: list[int] = []

        def done() -> bool:
            if pending and (ack := self.ack(pending[-1])) is not None:
                if ack.result == AckResult.ACCEPTED:
                    return True
                pending.clear()
            if not pending:
                pending.append(self.send(actions))
            return False

        return self.wait_for(done, f"an accepted chunk (state {self.state}, {self.detail})", timeout_s)

    def keep_sending(
        self,
        make_actions: Callable[[], np.ndarray],
        condition: Callable[[], object],
        what: str,
        timeout_s: float = 30.0,
    ) -> float:
        """Send a chunk every six control periods until the condition holds; returns the seconds."""
        due_ns = 0

        def check() -> bool:
            nonlocal due_ns
            if condition():
                return True
            now_ns = self.node.get_clock().now().nanoseconds
            if now_ns >= due_ns:
                self.send(make_actions())
                due_ns = now_ns + 6 * PERIOD_NS
            return False

        return self.wait_for(check, what, timeout_s)

    def keep_moving(self, condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> float:
        """Send chunks to and fro until the condition holds; returns the seconds."""
        return self.keep_sending(lambda: sideways(0.004 * (-1) ** self.sent), condition, what, timeout_s)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service and return its answer."""
        client = self.node.create_client(kind, name)
        try:
            self.wait_for(client.service_is_ready, f"the service {name}", 20.0)
            future = client.call_async(request)
            self.wait_for(future.done, f"an answer of {name}", 20.0)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def trigger(self, name: str) -> Any:
        return self.call(Trigger, name, Trigger.Request())

    def switch(self, name: str, on: bool) -> Any:
        return self.call(SetBool, name, SetBool.Request(data=on))

    def help(self) -> None:
        """What an operator does on a machine too busy for real time: recover a stopped arm and arm again."""
        if self.faults & (Fault.TRACKING | Fault.WRENCH | Fault.ROBOT_MODE | Fault.STATE_STALE):
            self.trigger("/fake_franka/recover")
            self.arm()

    def arm(self) -> Any:
        return self.switch("/physgen/set_armed", True)


def sideways(step: float, steps: int = 8, gripper: float = 1.0) -> np.ndarray:
    """Actions along y [m per step]."""
    actions = np.zeros((steps, 7), np.float32)
    actions[:, 1], actions[:, 6] = step, gripper
    return actions
