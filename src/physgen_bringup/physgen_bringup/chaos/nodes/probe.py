# SPDX-License-Identifier: Apache-2.0
"""The policy, the operator, the person at the device and the witness of a graph, all in one node of this process.

Everything heard is kept with the steady time at which it arrived [s, time.monotonic].
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from physgen_bringup.chaos.nodes.chunks import ChunkWriter, Stuck, sideways
from physgen_bringup.chaos.nodes.device import Device
from physgen_bringup.chaos.row import RowFailedError
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import chunk_ack_from_msg, sim_state_from_msg, stamp_to_ns
from physgen_control.types import AckResult, ChunkAck, Fault, SafetyState
from physgen_msgs.msg import ActionChunk, AppliedAction, EpisodeInfo, SafetyStatus, SimState
from physgen_msgs.msg import ChunkAck as ChunkAckMsg

CHUNK_PERIOD_S = 0.3
MOVING, RESTING = 0.02, 2e-3
"""Joint speeds [rad/s]: surely moving, and at rest."""

QUIET_S = 0.4
"""So long every joint must be at rest before the arm counts as resting."""


@dataclass(frozen=True, slots=True)
class Said:
    """One SafetyStatus as it was heard."""

    time_s: float
    """When it arrived, steady time [s]."""
    state: SafetyState
    faults: Fault
    detail: str
    intervention: bool


class ChaosProbe:
    """Use as a context manager; every waiting method spins, and raises RowFailedError when its time is over."""

    def __init__(self, domain_id: int, *, sim_time: bool) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        clock = [Parameter("use_sim_time", value=sim_time)]
        self.node = rclpy.create_node("chaos_probe", context=self.context, parameter_overrides=clock)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.statuses: deque[Said] = deque(maxlen=2000)
        self.acks: deque[tuple[float, ChunkAck]] = deque(maxlen=5000)
        self.samples: deque[tuple[float, float]] = deque(maxlen=5000)
        self.tool_path: deque[tuple[float, Any]] = deque(maxlen=2000)
        self.applied: deque[tuple[float, Any]] = deque(maxlen=3000)
        self.joints: Any = None
        self.pose: Any = None
        self.scene: Any = None
        self.episode: Any = None
        self.injected: set[int] = set()
        self.writer = ChunkWriter()
        self.playing = False
        self.gripper = 1.0
        self._way = 1.0
        self._stuck = Stuck()
        self._due_s = 0.0
        self._chunks: Any = None
        self._clients: dict[str, Any] = {}
        self.client(SetBool, topics.SET_ARMED)
        for name in ("hold", "clear_fault"):
            self.client(Trigger, f"/physgen/{name}")
        self._listen()
        self.device = Device(self.node)
        self.joints_out = self.node.create_publisher(JointState, topics.JOINT_STATES, qos.SENSOR_WRITER)
        self.pose_out: Any = None
        self.pretend_driver(True)
        self.wrench_out = self.node.create_publisher(WrenchStamped, topics.EXTERNAL_WRENCH, qos.STATE_READER)
        self.connect()
        self.node.create_timer(0.01, self._play, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def __enter__(self) -> ChaosProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _listen(self) -> None:
        create = self.node.create_subscription
        create(SafetyStatus, topics.SAFETY_STATUS, self._on_status, qos.LATCHED)
        create(ChunkAckMsg, topics.CHUNK_ACK, self._on_ack, qos.RECORDER)
        create(AppliedAction, topics.APPLIED_ACTION, self._on_applied, qos.RECORDER)
        create(JointState, topics.JOINT_STATES, self._on_joints, qos.STATE_READER)
        create(PoseStamped, topics.CURRENT_POSE, self._on_pose, qos.STATE_READER)
        create(SimState, topics.SIM_STATE, self._on_scene, qos.SENSOR_READER)
        create(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)

    # --- what is heard ----------------------------------------------------------------------------------------

    def _on_status(self, message: Any) -> None:
        if message.state in list(SafetyState):  # a row may send impossible ones itself
            said = Said(
                time.monotonic(),
                SafetyState(message.state),
                Fault(message.faults),
                message.detail,
                message.intervention,
            )
            self.statuses.append(said)

    def _on_ack(self, message: Any) -> None:
        if message.result in list(AckResult):
            self.acks.append((time.monotonic(), chunk_ack_from_msg(message)))

    def _on_applied(self, message: Any) -> None:
        if len(message.applied) == 7:
            self.applied.append((time.monotonic(), message))

    def _on_joints(self, message: Any) -> None:
        if stamp_to_ns(message.header.stamp) in self.injected or len(message.velocity) < 7:
            return
        self.joints = message
        self.samples.append((time.monotonic(), float(np.max(np.abs(message.velocity[:7])))))

    def _on_pose(self, message: Any) -> None:
        if stamp_to_ns(message.header.stamp) not in self.injected:
            self.pose = message

    def _on_scene(self, message: Any) -> None:
        if message.tcp_pose.orientation.w or message.tcp_pose.orientation.x:
            self.scene = sim_state_from_msg(message)
            self.tool_path.append((time.monotonic(), self.scene.tcp_pose.position.copy()))

    def _on_episode(self, message: Any) -> None:
        self.episode = message

    # --- what is done -----------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Be the policy of the graph (again), with a new session."""
        if self._chunks is None:
            self._chunks = self.node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.COMMAND)
            self.renew_session()

    def renew_session(self) -> None:
        """Go on as a policy that was started again does."""
        before, self.writer = self.writer, ChunkWriter()
        self.writer.episode_id = before.episode_id

    def disconnect(self) -> None:
        """Be the policy no more, so that another process can be it."""
        self.playing = False
        if self._chunks is not None:
            self.node.destroy_publisher(self._chunks)
            self._chunks = None

    def pretend_driver(self, on: bool) -> None:
        """Be able to publish poses; while this process can, nobody notices that the driver's publisher is gone."""
        if on and self.pose_out is None:
            self.pose_out = self.node.create_publisher(PoseStamped, topics.CURRENT_POSE, qos.SENSOR_WRITER)
        elif not on and self.pose_out is not None:
            self.node.destroy_publisher(self.pose_out)
            self.pose_out = None

    @property
    def now_ns(self) -> int:
        """ROS time [ns]."""
        return int(self.node.get_clock().now().nanoseconds)

    @property
    def next_step(self) -> int:
        """The control step after the last one applied."""
        return int(self.applied[-1][1].step) + 1 if self.applied else 0

    def actions(self, size: float = 0.004) -> Any:
        """Return actions to and fro about the middle of the table [m per step]."""
        y = float(self.scene.tcp_pose.position[1]) if self.scene is not None else 0.0
        if abs(y) > 0.03:
            self._way = -1.0 if y > 0 else 1.0
        return sideways(size * self._stuck.scale(y) * self._way, gripper=self.gripper)

    def send(self, actions: Any = None, spoil: Callable[[Any], None] | None = None, **changes: Any) -> int:
        """Publish one chunk and return its number; `spoil` changes the message after it was built."""
        actions = self.actions() if actions is None else actions
        message = self.writer.message(actions, self.now_ns, self.next_step, **changes)
        if spoil is not None:
            spoil(message)
        self._chunks.publish(message)
        return int(message.chunk_seq)

    def _play(self) -> None:
        now_s = time.monotonic()
        if self.playing and self._chunks is not None and now_s >= self._due_s:
            self._due_s = now_s + CHUNK_PERIOD_S
            self.send()

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = 20.0) -> Any:
        """Call a service and return its answer."""
        client = self.client(kind, name)
        self.wait_for(client.service_is_ready, f"the service {name}", timeout_s)
        future = client.call_async(request)
        self.wait_for(future.done, f"an answer of {name}", timeout_s)
        return future.result()

    def client(self, kind: Any, name: str) -> Any:
        """Return the client of a service; one that is kept was discovered before a row measures."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        return self._clients[name]

    def trigger(self, name: str) -> Any:
        """Call a Trigger service; return the answer."""
        return self.call(Trigger, name, Trigger.Request())

    def switch(self, name: str, on: bool) -> Any:
        """Call a SetBool service; return the answer."""
        return self.call(SetBool, name, SetBool.Request(data=on))

    def arm(self) -> Any:
        """Ask for ARMED; return the answer."""
        return self.switch(topics.SET_ARMED, True)

    # --- waiting and measuring --------------------------------------------------------------------------------

    @property
    def said(self) -> Any:
        """The newest status (Said), or None before the first."""
        return self.statuses[-1] if self.statuses else None

    @property
    def state(self) -> SafetyState | None:
        """The newest state."""
        return self.said.state if self.said else None

    @property
    def speed(self) -> float:
        """Largest joint speed measured last [rad/s]."""
        return self.samples[-1][1] if self.samples else 0.0

    def spin(self, seconds: float) -> None:
        """Let things happen for some seconds."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=min(left_s, 0.02))

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
        """Spin until the condition holds.

        Raises:
            RowFailedError: It did not in time.
        """
        start_s = time.monotonic()
        while not condition():
            if time.monotonic() - start_s > timeout_s:
                last = self.acks[-1][1] if self.acks else None
                answer = f"; last answer {last.result.name}: {last.detail}" if last else ""
                said = f"{self.said.state.name}, {self.said.detail}" if self.said else "nothing was said"
                raise RowFailedError(f"not within {timeout_s:g} s: {what} ({said}{answer})")
            self.executor.spin_once(timeout_sec=0.02)

    def detect(
        self, since_s: float, matches: Callable[[Said], Any], what: str, timeout_s: float = 10.0
    ) -> float:
        """Return the seconds until the first status since then that matches."""

        def found() -> Said | None:
            return next((said for said in self.statuses if said.time_s >= since_s and matches(said)), None)

        self.wait_for(lambda: found() is not None, what, timeout_s)
        said = found()
        assert said is not None
        return said.time_s - since_s

    def held(self, since_s: float, fault: Fault, timeout_s: float = 10.0) -> float:
        """Return the seconds until HOLD because of this fault."""
        return self.detect(
            since_s,
            lambda said: said.state is SafetyState.HOLD and said.faults & fault,
            f"HOLD with {fault.name}",
            timeout_s,
        )

    def answered(
        self, since_s: float, number: int, results: tuple[AckResult, ...], timeout_s: float = 5.0
    ) -> float:
        """Return the seconds until this chunk was answered.

        Raises:
            RowFailedError: It was not, or with none of these results.
        """

        def found() -> tuple[float, ChunkAck] | None:
            return next((a for a in self.acks if a[0] >= since_s and a[1].chunk_seq == number), None)

        self.wait_for(lambda: found() is not None, f"an answer to chunk {number}", timeout_s)
        answer = found()
        assert answer is not None
        arrived_s, ack = answer
        if ack.result not in results:
            wanted = " or ".join(result.name for result in results)
            raise RowFailedError(
                f"chunk {number} was answered {ack.result.name} ({ack.detail}), not {wanted}"
            )
        return arrived_s - since_s

    def rest(self, since_s: float, timeout_s: float = 10.0) -> float:
        """Return the seconds until the last measured motion since then; wait until every joint was at rest a while."""

        def last_motion() -> float:
            return max((t for t, speed in self.samples if t >= since_s and speed > RESTING), default=since_s)

        def quiet() -> bool:
            newest_s = self.samples[-1][0] if self.samples else since_s
            return newest_s - last_motion() > QUIET_S

        self.wait_for(quiet, "an arm at rest", timeout_s)
        return last_motion() - since_s

    def tool_rest(self, since_s: float, timeout_s: float = 10.0) -> float:
        """Return what `rest` does, by the tool in the simulated scene: for rows in which joint states end."""

        def last_motion() -> float:
            path = [entry for entry in self.tool_path if entry[0] >= since_s - 0.1]
            moved = [b[0] for a, b in pairwise(path) if np.linalg.norm(b[1] - a[1]) > 1e-4]
            return max([since_s, *moved])

        def quiet() -> bool:
            return bool(self.tool_path) and self.tool_path[-1][0] - last_motion() > QUIET_S

        self.wait_for(quiet, "a tool at rest", timeout_s)
        return last_motion() - since_s
