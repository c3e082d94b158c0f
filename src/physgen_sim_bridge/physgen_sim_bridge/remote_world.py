# SPDX-License-Identifier: Apache-2.0
"""A World in its own process, the caller's side: the simulator's crash becomes an error here, its globals stay there.

Caller and process (bridge/world_process.py) talk JSON over a socket, exact for float64, and share the two images
through anonymous memory, which the process makes as large as its cameras need.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array, Pose, UInt8Image
from physgen_sim_bridge.perturbation.scene import SceneChange
from physgen_sim_bridge.world import BY_SEED, CameraSpec, Observation, World, WorldCrashed, WorldSpec

START_TIMEOUT_S = 600.0
"""Imports, shader compilation and the first scene on a busy machine."""

CALL_TIMEOUT_S = 120.0
"""A reset or step that takes longer hangs."""

CLOSE_TIMEOUT_S = 3.0

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A simulator's arrays are tiny: more threads only take cores from the policy."""


class RemoteWorld(World):
    """Parent's side of a world in another process: a World. Not thread safe.

    Args:
        sim: Simulator, as in the registry.
        task: Task of the simulator.
        image_size: Edge of both square images [pixels].
        render: False: images are black.
        environment: Variables of the worker that differ from this process'.

    Raises:
        UserError: The worker refuses simulator or task.
        WorldCrashed: The worker does not start.
    """

    def __init__(
        self,
        sim: str,
        task: str,
        *,
        image_size: int = 128,
        render: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        mine, theirs = socket.socketpair()
        memory = os.memfd_create("physgen_images")
        arguments = [str(theirs.fileno()), str(memory), sim, task, str(image_size), str(int(render))]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "physgen_sim_bridge.bridge.world_process", *arguments],
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, **WORKER_ENVIRONMENT, **(environment or {})},
                stdin=subprocess.DEVNULL,
            )
            theirs.close()
            self._pipe: Connection | None = Connection(mine.detach())
            self.spec = _spec_from_json(self._answer(START_TIMEOUT_S)["spec"])
            self._images = shared_images(memory, self.spec)
        finally:
            theirs.close()
            os.close(memory)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """Start an episode, as World.reset.

        Raises:
            UserError: The world refuses seed or initial state.
            WorldCrashed: The worker died, hangs, or its simulator raised.
        """
        return self._call({"call": "reset", "seed": int(seed), "init_state": int(init_state)})

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """Apply one canonical action, float32 [7], as World.step.

        Raises:
            ValueError: The action is no canonical one.
            WorldCrashed: The worker died, hangs, or its simulator raised.
        """
        values = np.asarray(action, dtype=np.float64).tolist()
        return self._call({"call": "step", "action": values, "render": render})

    def change(self, scene: SceneChange) -> None:
        """See ChangeableWorld; a world that cannot be changed says so."""
        self._exchange({"call": "change", "scene": asdict(scene)})

    def displace(self, name: str, by: Float64Array) -> None:
        """See DisplacingWorld; a world that cannot says so."""
        self._exchange({"call": "displace", "name": name, "by": [float(value) for value in by]})

    def close(self) -> None:
        """Ask the worker to end, then make it end."""
        if self._pipe is None:
            return
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(json.dumps({"call": "close"}).encode())
        self._pipe.close()
        self._pipe = None
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._pipe is None:
            raise WorldCrashed("The simulator's process has ended: make a new world.")
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
        except OSError as error:
            raise self._crashed("ended") from error
        return self._answer(CALL_TIMEOUT_S)

    def _call(self, request: dict[str, Any]) -> Observation:
        reply = self._exchange(request)["observation"]
        # Copied: the memory is written again by the next step.
        fixed, wrist = (image.copy() for image in self._images)
        return Observation(
            rgb_fixed=fixed,
            rgb_wrist=wrist,
            positions=np.array(reply["positions"]),
            velocities=np.array(reply["velocities"]),
            gripper_width=reply["gripper_width"],
            tcp_pose=_pose_from_json(reply["tcp_pose"]),
            objects={name: _pose_from_json(pose) for name, pose in reply["objects"]},
            success=reply["success"],
        )

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        assert self._pipe is not None
        try:
            if not self._pipe.poll(timeout_s):
                raise self._crashed(f"did not answer for {timeout_s:.0f} s")
            reply: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._crashed("ended") from error
        match reply.get("error"):
            case None:
                return reply
            case "user":
                if reply.get("fatal"):
                    self.close()
                raise UserError(reply["text"])
            case "value":
                raise ValueError(reply["text"])
        raise self._crashed(f"failed with {reply['text']}")

    def _crashed(self, what: str) -> WorldCrashed:
        """Tear the worker down and return the error that says how it ended."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        status = self._process.poll()
        if status is None:
            self._process.kill()
            self._process.wait()
        elif status < 0:
            what += f" by signal {-status}"
        elif status > 0:
            what += f" with exit status {status}"
        return WorldCrashed(f"The simulator's process {what}.")


def shared_images(memory: int, spec: WorldSpec) -> tuple[UInt8Image, UInt8Image]:
    """Map both sides' memory as the images (fixed, wrist), uint8 [height, width, 3].

    Args:
        memory: File descriptor, as large as both images together.
        spec: The world whose cameras they are.
    """
    fixed, wrist = ((*camera.image_size, 3) for camera in (spec.fixed_camera, spec.wrist_camera))
    border, end = math.prod(fixed), math.prod(fixed) + math.prod(wrist)
    pixels = np.frombuffer(mmap.mmap(memory, end), dtype=np.uint8)
    return pixels[:border].reshape(fixed), pixels[border:end].reshape(wrist)


def _pose_from_json(values: list[float]) -> Pose:
    return Pose(position=np.array(values[:3]), quaternion=np.array(values[3:]))


def _spec_from_json(values: dict[str, Any]) -> WorldSpec:
    fields: dict[str, Any] = dict(values)
    for key in ("fixed_camera", "wrist_camera"):
        fields[key] = CameraSpec(**{**fields[key], "image_size": tuple(fields[key]["image_size"])})
    for key in ("joint_names", "finger_names"):
        fields[key] = tuple(fields[key])
    return WorldSpec(**fields)
