# SPDX-License-Identifier: Apache-2.0
"""A World in its own process, the process' side: makes the world and answers the calls of remote_world.py."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.program.plain_values import build
from physgen_control.types import Pose, UInt8Image
from physgen_sim_bridge.perturbation.event import displace
from physgen_sim_bridge.perturbation.scene import SceneChange, change_scene
from physgen_sim_bridge.registry import make_world
from physgen_sim_bridge.remote_world import shared_images
from physgen_sim_bridge.world import Observation, World


def _pose_to_json(pose: Pose) -> list[float]:
    return [*pose.position.tolist(), *pose.quaternion.tolist()]


def _observation_to_json(observation: Observation) -> dict[str, Any]:
    return {
        "positions": observation.positions.tolist(),
        "velocities": observation.velocities.tolist(),
        "gripper_width": observation.gripper_width,
        "tcp_pose": _pose_to_json(observation.tcp_pose),
        "objects": [(name, _pose_to_json(pose)) for name, pose in observation.objects.items()],
        "success": observation.success,
    }


def _handle(world: World, request: dict[str, Any], images: tuple[UInt8Image, UInt8Image]) -> dict[str, Any]:
    try:
        if request["call"] == "displace":
            displace(world, request["name"], np.array(request["by"], np.float64))
            return {}
        if request["call"] == "change":
            change_scene(world, build(SceneChange, request["scene"], "scene"))
            return {}
        if request["call"] == "reset":
            observation = world.reset(request["seed"], request["init_state"])
        else:
            action = np.array(request["action"], dtype=np.float32)
            observation = world.step(action, render=request["render"])
    except UserError as error:
        return {"error": "user", "text": str(error)}
    except ValueError as error:
        return {"error": "value", "text": str(error)}
    images[0][:], images[1][:] = observation.rgb_fixed, observation.rgb_wrist
    return {"observation": _observation_to_json(observation)}


def _serve(arguments: list[str]) -> int:
    """Make the world and answer calls until the parent closes or dies; return the exit status."""
    # Ctrl-C reaches the whole terminal group: the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(int(arguments[0]))
    memory, size, render = int(arguments[1]), int(arguments[4]), arguments[5] == "1"
    sim, task = arguments[2:4]
    try:
        world = make_world(sim, task, image_size=size, render=render)
    except UserError as error:
        pipe.send_bytes(json.dumps({"error": "user", "fatal": True, "text": str(error)}).encode())
        return 0
    cameras = (world.spec.fixed_camera, world.spec.wrist_camera)
    os.ftruncate(memory, sum(3 * math.prod(camera.image_size) for camera in cameras))
    images = shared_images(memory, world.spec)
    with contextlib.suppress(EOFError, OSError):
        pipe.send_bytes(json.dumps({"spec": asdict(world.spec)}).encode())
        while True:
            request = json.loads(pipe.recv_bytes())
            if request["call"] == "close":
                break
            try:
                reply = _handle(world, request, images)
            except Exception as error:  # noqa: BLE001  (anything a simulator throws must reach the parent as a crash)
                reply = {"error": "crash", "text": f"{type(error).__name__}: {error}"}
            pipe.send_bytes(json.dumps(reply).encode())
    world.close()
    return 0


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1:]))
