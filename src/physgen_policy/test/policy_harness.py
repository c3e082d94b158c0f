# SPDX-License-Identifier: Apache-2.0
"""Synthetic cameras and a scripted controller around a policy node process, over DDS."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from physgen_control.nodes import qos
from physgen_control.nodes.conversions import (
    action_chunk_from_msg,
    applied_action_to_msg,
    episode_to_msg,
    make_header,
)
from physgen_control.nodes.images import image_to_msg
from physgen_control.program.user_folder import user_folder
from physgen_control.types import ActionChunk, AppliedAction, CameraFrame, Episode, EpisodePhase, Pose, Source
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import EpisodeInfo, PolicyStatus
from physgen_msgs.srv import SetInstruction

DT = 50_000_000
POSE = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
CAMERAS = ("wrist", "fixed")
DOMAINS = range(50, 60)


@contextmanager
def private_domain() -> Iterator[int]:
    """A DDS domain that no other test run on this machine uses at the same time."""
    first = os.getpid() % len(DOMAINS)
    for domain in (*DOMAINS[first:], *DOMAINS[:first]):
        path = user_folder("domains") / f"{domain}.lock"
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError(f"the DDS domains {DOMAINS} are all in use by other test runs; wait for them to end")


def _die_with_parent() -> None:
    # A test run that is killed must not leave nodes behind: PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class PolicyProcess:
    """The real node in a process of its own."""

    def __init__(self, domain: int, log: Path, **parameters: object) -> None:
        command = [sys.executable, "-m", "physgen_policy.nodes.policy_node", "--ros-args"]
        for name, value in ({"use_sim_time": True, "control_period": DT / 1e9} | parameters).items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ["-p", f"{name}:={text}"]
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        self._log = log
        self._stream = log.open("w")
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=self._stream,
            stderr=self._stream,
            preexec_fn=_die_with_parent,
        )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> int:
        """SIGTERM, wait, exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        self._stream.close()
        return code


def view(step: int, camera: str, side: int = 32) -> np.ndarray:
    """An image that only step and camera determine."""
    rng = np.random.default_rng([step, len(camera)])
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


class Graph:
    """Everything around the policy: publishes observations, records chunks, applies actions."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        node = self.node = rclpy.create_node("world_and_controller", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self.clock = node.create_publisher(Clock, "/clock", qos.COMMAND)
        self.cameras = {
            name: node.create_publisher(Image, f"/camera/{name}/color/image_raw", qos.SENSOR_WRITER)
            for name in CAMERAS
        }
        self.episodes = node.create_publisher(EpisodeInfo, "/physgen/episode_info", qos.LATCHED)
        self.applied = node.create_publisher(AppliedActionMsg, "/physgen/applied_action", qos.COMMAND)
        self.chunks: list[ActionChunk] = []
        self.statuses: list[PolicyStatus] = []
        self.imagined: list[Image] = []
        node.create_subscription(ActionChunkMsg, "/physgen/action_chunk", self._on_chunk, qos.COMMAND)
        node.create_subscription(PolicyStatus, "/physgen/policy_status", self.statuses.append, qos.LATCHED)
        self._client = node.create_client(SetInstruction, "/physgen/set_instruction")
        self.episode = Episode(episode_id="", task="", seed=0, instruction="", start_ns=0)
        self.step = 0
        self._start = 10**9

    def close(self) -> None:
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _on_chunk(self, message: ActionChunkMsg) -> None:
        chunk = action_chunk_from_msg(message)
        if chunk.episode_id == self.episode.episode_id:  # one of the last episode may still be on its way
            self.chunks.append(chunk)

    def spin_until(self, predicate: Callable[[], bool], timeout_s: float = 60.0, what: str = "") -> None:
        deadline = time.monotonic() + timeout_s
        while not predicate():
            assert time.monotonic() < deadline, (
                f"waited {timeout_s} s for {what or predicate}: {self.describe()}"
            )
            self._executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.01))

    def describe(self) -> str:
        detail = self.statuses[-1].detail if self.statuses else "no status"
        return f"step {self.step}, {len(self.chunks)} chunks, status: {detail}"

    def wait_ready(self) -> None:
        self.spin_until(lambda: bool(self.statuses) and self.statuses[-1].ready, 90.0, "a ready policy")

    def start_episode(self, name: str, *, seed: int = 0, instruction: str = "push the cube") -> None:
        """Announce a new episode at least a second after the last one; nothing is observed yet."""
        self._start += 20 * 10**9
        self.step = 0
        self.episode = Episode(
            episode_id=name, task="PushCube-v1", seed=seed, instruction=instruction, start_ns=self._start
        )
        self.chunks.clear()
        self.episodes.publish(episode_to_msg(self.episode))

    def end_episode(self, phase: EpisodePhase = EpisodePhase.SUCCESS) -> None:
        message = episode_to_msg(self.episode)
        message.phase = int(phase)
        self.episodes.publish(message)

    @property
    def now_ns(self) -> int:
        return self.episode.start_ns + self.step * DT

    def observe(self, side: int = 32) -> None:
        """Publish (or repeat) the observation of the current step."""
        self.clock.publish(Clock(clock=make_header(self.now_ns, "").stamp))
        for name, publisher in self.cameras.items():
            publisher.publish(
                image_to_msg(view(self.step, name, side), self.now_ns, f"camera_{name}_color_optical_frame")
            )

    def action(self, chunk: ActionChunk | None, index: int, source: Source = Source.POLICY) -> AppliedAction:
        """The applied action of the current step: action `index` of a chunk, or a hold."""
        values = chunk.data[0, index].copy() if chunk is not None else np.zeros(7, np.float32)
        values[6] = 1.0 if values[6] >= 0 else -1.0
        return AppliedAction(
            stamp_ns=self.now_ns,
            state_stamp_ns=self.now_ns,
            session_id=chunk.session_id if chunk is not None else "",
            episode_id=self.episode.episode_id,
            step=self.step,
            chunk_seq=chunk.chunk_seq if chunk is not None else 0,
            base_step=chunk.base_step if chunk is not None else 0,
            step_index=index,
            chunk_index=0,
            source=source,
            executed=True,
            raw=values,
            applied=values,
            target_pose=POSE,
            gripper_width=0.08,
        )

    def apply(
        self, chunk: ActionChunk | None, index: int = 0, source: Source = Source.POLICY
    ) -> AppliedAction:
        """Publish the current step's applied action and go to the next step."""
        action = self.action(chunk, index, source)
        self.applied.publish(applied_action_to_msg(action))
        self.step += 1
        return action

    def wait_chunk(self, seq: int, repeat_s: float = 2.0) -> ActionChunk:
        """Wait for chunk `seq` of the episode, repeating the observation as a bridge in lockstep does."""
        deadline = time.monotonic() + 60.0
        repeat = time.monotonic() + repeat_s

        def arrived() -> list[ActionChunk]:
            return [chunk for chunk in self.chunks if chunk.chunk_seq == seq]

        while not arrived():
            assert time.monotonic() < deadline, f"no chunk {seq}: {self.describe()}"
            if time.monotonic() > repeat:
                self.observe()
                repeat = time.monotonic() + repeat_s
            self._executor.spin_once(timeout_sec=0.02)
        return arrived()[0]

    def run_lockstep(self, num_chunks: int) -> list[tuple[ActionChunk, list[AppliedAction]]]:
        """Run whole chunks from the current observation on, in lockstep."""
        history = []
        self.observe()
        for seq in range(num_chunks):
            chunk = self.wait_chunk(seq)
            applied = []
            for index in range(chunk.execute_steps):
                applied.append(self.apply(chunk, index))
                self.observe()
            history.append((chunk, applied))
        return history

    def set_instruction(self, text: str) -> SetInstruction.Response:
        assert self._client.wait_for_service(30.0)
        future = self._client.call_async(SetInstruction.Request(instruction=text))
        self.spin_until(future.done, 30.0, "the answer of set_instruction")
        return future.result()


def camera_frame(step: int, camera: str, stamp_ns: int) -> CameraFrame:
    return CameraFrame(
        stamp_ns=stamp_ns, rgb=view(step, camera), frame_id=f"camera_{camera}_color_optical_frame"
    )


def broken_image(stamp_ns: int) -> Image:
    """An encoding that no camera of ours has."""
    return Image(
        header=make_header(stamp_ns, "camera"),
        height=2,
        width=2,
        encoding="mono8",
        step=2,
        data=array("B", bytes(4)),
    )
