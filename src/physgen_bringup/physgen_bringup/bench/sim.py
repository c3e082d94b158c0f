# SPDX-License-Identifier: Apache-2.0
"""How much of the simulator's native speed is left through the bridge in lockstep, with a policy that answers at once.

Native is gymnasium's own step() with the same two cameras; the bridge runs as in a graph: simulator process, bridge
process, and this process in the role of the controller. Both are measured in alternation, each with a warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from physgen_control.errors import UserError

WARM_UP_STEPS = 10
START_TIMEOUT_S = 180.0
BRIDGE = "physgen_sim_bridge.nodes.bridge_node"
INSTANT_POLICY = "physgen_bringup.bench.nodes.instant_policy_node"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimBenchmark:
    """The result; speeds are medians over the rounds."""

    sim: str
    task: str
    image_size: int
    """Edge of both square images [pixels]."""
    steps: int
    rounds: int
    native_steps_per_s: float
    """The simulator's own step()."""
    world_steps_per_s: float
    """Our World in this process."""
    bridge_steps_per_s: float
    """Through the graph in lockstep."""
    ratio: float
    """Bridge over native."""
    native_rounds: list[float]
    world_rounds: list[float]
    bridge_rounds: list[float]


def run(
    *,
    sim: str = "maniskill",
    task: str = "PushCube-v1",
    image_size: int = 128,
    steps: int = 60,
    rounds: int = 3,
    doing: Callable[[str], None] = lambda _: None,
) -> SimBenchmark:
    """Measure native, world-in-process and bridge speed, in alternation so that a busy machine hurts all alike.

    `doing` is told what is measured.

    Raises:
        UserError: The task is unknown, a number is too small, or a measurement failed.
    """
    from physgen_sim_bridge.registry import check_task

    check_task(sim, task, image_size)
    if steps < 1 or rounds < 1:
        raise UserError(f"steps and rounds must be at least 1, but they are {steps} and {rounds}.")
    native: list[float] = []
    world: list[float] = []
    bridge: list[float] = []
    for index in range(rounds):
        for what, rates in (("native", native), ("world", world), ("bridge", bridge)):
            doing(f"round {index + 1} of {rounds}: {what}")
            rates.append(measure_in_subprocess(what, sim, task, image_size, steps))
    middle = statistics.median
    return SimBenchmark(
        sim=sim,
        task=task,
        image_size=image_size,
        steps=steps,
        rounds=rounds,
        native_steps_per_s=middle(native),
        world_steps_per_s=middle(world),
        bridge_steps_per_s=middle(bridge),
        ratio=middle(bridge) / middle(native),
        native_rounds=native,
        world_rounds=world,
        bridge_rounds=bridge,
    )


def table(result: SimBenchmark) -> str:
    """Return the result for people."""
    return "\n".join(
        [
            f"{result.sim} {result.task}, two cameras {result.image_size} px, "
            f"median of {result.rounds} rounds of {result.steps} steps",
            f"  native step()            {result.native_steps_per_s:8.1f} steps/s",
            f"  World in one process     {result.world_steps_per_s:8.1f} steps/s",
            f"  bridge over ROS, lockstep{result.bridge_steps_per_s:8.1f} steps/s",
            f"  bridge / native          {result.ratio:8.2f}",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """One measurement in this process, for `measure_in_subprocess`: prints its rate as JSON."""
    parser = argparse.ArgumentParser(prog="python -m physgen_bringup.bench.sim", description=__doc__)
    parser.add_argument("--measure", choices=("native", "world", "bridge"), required=True)
    parser.add_argument("--sim", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args(arguments)
    measure = {"native": _native, "world": _world, "bridge": _bridge}[options.measure]
    try:
        rate = measure(options.sim, options.task, options.image_size, options.steps)
    except UserError as error:
        sys.stderr.write(f"bench sim: {error}\n")
        return 2
    sys.stdout.write(json.dumps({"steps_per_s": rate}) + "\n")
    return 0


def measure_in_subprocess(what: str, sim: str, task: str, image_size: int, steps: int) -> float:
    """Return the steps per second of one measurement in a fresh process: the simulator keeps global state.

    Raises:
        UserError: The process failed.
    """
    command = [
        sys.executable,
        "-m",
        "physgen_bringup.bench.sim",
        "--measure",
        what,
        "--sim",
        sim,
        "--task",
        task,
    ]
    command += ["--image-size", str(image_size), "--steps", str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise UserError(f"The {what} measurement of {task} ended with exit status {done.returncode}.")
    rate: float = json.loads(done.stdout.strip().splitlines()[-1])["steps_per_s"]
    return rate


def _actions(steps: int) -> list[Any]:
    """Return small motions to and fro, the same for every measurement."""
    result = []
    for step in range(steps):
        action = np.zeros(7, dtype=np.float32)
        action[:3] = 0.01 * np.array([np.sin(step / 5), np.cos(step / 7), np.sin(step / 3)])
        action[6] = 1.0
        result.append(action)
    return result


def _native(sim: str, task: str, image_size: int, steps: int) -> float:
    """Return the speed of the environment's own step() with both cameras; the fake world has no other step()."""
    if sim != "maniskill":
        return _world(sim, task, image_size, steps)
    from physgen_sim_bridge.canonical_action import maniskill_action
    from physgen_sim_bridge.maniskill.simulator import make_native_env
    from physgen_sim_bridge.maniskill.tasks import TASKS

    env = make_native_env(task, TASKS[task], image_size, obs_mode="rgb")
    env.reset(seed=0)
    actions = [maniskill_action(action) for action in _actions(WARM_UP_STEPS + steps)]
    for action in actions[:WARM_UP_STEPS]:
        env.step(action)
    begin = time.perf_counter()
    for action in actions[WARM_UP_STEPS:]:
        observation = env.step(action)[0]
        # Lazily rendered images would not be counted otherwise.
        for camera in ("base_camera", "hand_camera"):
            observation["sensor_data"][camera]["rgb"].numpy()
    rate = steps / (time.perf_counter() - begin)
    env.close()
    return rate


def _world(sim: str, task: str, image_size: int, steps: int) -> float:
    from physgen_sim_bridge.registry import make_world

    world = make_world(sim, task, image_size=image_size)
    world.reset(0)
    actions = _actions(WARM_UP_STEPS + steps)
    for action in actions[:WARM_UP_STEPS]:
        world.step(action)
    begin = time.perf_counter()
    for action in actions[WARM_UP_STEPS:]:
        world.step(action)
    rate = steps / (time.perf_counter() - begin)
    world.close()
    return rate


def _bridge(sim: str, task: str, image_size: int, steps: int) -> float:
    """Start bridge and instant policy in a private domain; the policy process measures and prints the rate.

    Raises:
        UserError: The bridge did not run the task to its end.
    """
    environment = {**os.environ, "ROS_DOMAIN_ID": str(20 + os.getpid() % 10)}
    words = ["-p", f"sim:={sim}", "-p", f"task:={task}", "-p", f"image_size:={image_size}"]
    bridge = subprocess.Popen([sys.executable, "-m", BRIDGE, "--ros-args", *words], env=environment)
    try:
        command = [
            sys.executable,
            "-m",
            INSTANT_POLICY,
            "--warm-up",
            str(WARM_UP_STEPS),
            "--steps",
            str(steps),
        ]
        policy = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S * 2,
        )
    finally:
        if bridge.poll() is None:
            bridge.send_signal(signal.SIGINT)
        try:
            bridge.wait(20)
        except subprocess.TimeoutExpired:
            bridge.kill()
            bridge.wait()
    if policy.returncode != 0:
        raise UserError(f"The bridge did not run {task} to the end: see the messages above.")
    return float(policy.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
