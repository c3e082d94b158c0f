# SPDX-License-Identifier: Apache-2.0
"""A node that listens to a bridge process and plays the controller: real DDS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from geometry_msgs.msg import PoseStamped
from node_rig import NodeProbe
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import applied_action_to_msg, stamp_to_ns
from physgen_control.types import AppliedAction, Pose, Source
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import EpisodeInfo, SimState
from physgen_msgs.srv import ResetEnv


class Probe(NodeProbe):
    """Collects stamps of everything the bridge publishes and plays the controller."""

    TYPES: ClassVar[dict[str, type]] = {
        topics.JOINT_STATES: JointState,
        topics.CURRENT_POSE: PoseStamped,
        topics.SIM_STATE: SimState,
        topics.image_topic("fixed"): Image,
        topics.image_topic("wrist"): Image,
        topics.camera_info_topic("fixed"): CameraInfo,
        topics.camera_info_topic("wrist"): CameraInfo,
    }

    def __init__(self, domain: int) -> None:
        super().__init__("bridge_probe", domain)
        self.stamps: dict[str, list[int]] = {name: [] for name in self.TYPES}
        self.last: dict[str, Any] = {}
        self.clock: list[int] = []
        self.episodes: list[EpisodeInfo] = []
        for name, kind in self.TYPES.items():
            self.node.create_subscription(kind, name, lambda m, n=name: self._take(n, m), qos.RECORDER)
        self.node.create_subscription(
            Clock, "/clock", lambda m: self.clock.append(stamp_to_ns(m.clock)), qos.RECORDER
        )
        self.node.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self.episodes.append, qos.LATCHED)
        self.actions = self.node.create_publisher(AppliedActionMsg, topics.APPLIED_ACTION, qos.COMMAND)
        self.client = self.node.create_client(ResetEnv, "/physgen/reset_env")

    def _take(self, name: str, message: Any) -> None:
        self.stamps[name].append(stamp_to_ns(message.header.stamp))
        self.last[name] = message

    def until(self, predicate: Callable[[], bool], timeout_s: float = 60.0) -> bool:
        """Spin until the predicate holds; returns whether it did."""
        end = time.monotonic() + timeout_s
        while not predicate():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def settle(self, seconds: float) -> None:
        """Spin for a fixed time: only to show that something does not happen."""
        self.until(lambda: False, seconds)

    def connected(self) -> bool:
        """Every topic has its publisher, and the bridge reads actions."""
        names = [*self.TYPES, "/clock", topics.EPISODE_INFO]
        return (
            self.client.service_is_ready()
            and self.actions.get_subscription_count() > 0
            and all(self.node.count_publishers(name) > 0 for name in names)
        )

    def reset(self, **fields: object) -> ResetEnv.Response:
        """Call the reset service."""
        future = self.client.call_async(ResetEnv.Request(init_state=-1, **fields))
        assert self.until(future.done), "the reset service did not answer"
        return future.result()

    def answer(self, episode_id: str, step: int, motion: float = 0.0, executed: bool = True) -> None:
        """Publish the applied action of a step: motion [m] along +x, gripper open."""
        values = np.array([motion, 0, 0, 0, 0, 0, 1], dtype=np.float32)
        action = AppliedAction(
            stamp_ns=0,
            state_stamp_ns=0,
            session_id="probe",
            episode_id=episode_id,
            step=step,
            chunk_seq=0,
            base_step=step,
            step_index=0,
            chunk_index=0,
            source=Source.POLICY,
            executed=executed,
            raw=values,
            applied=values,
            target_pose=Pose(position=np.zeros(3), quaternion=np.array([0.0, 0.0, 0.0, 1.0])),
            gripper_width=0.08,
        )
        self.actions.publish(applied_action_to_msg(action))

    def observed(self, stamp_ns: int) -> bool:
        """Every topic has delivered this stamp."""
        return all(stamp_ns in stamps for stamps in self.stamps.values())

    def phases(self, episode_id: str) -> list[int]:
        """Phases of an episode in the order of arrival."""
        return [info.phase for info in self.episodes if info.episode_id == episode_id]
