# SPDX-License-Identifier: Apache-2.0
"""Random chunks through the real-arm path, sampled at 1 kHz: every joint limit of the FR3, every seam.

    python -m physgen_sim_bridge.fake_franka.audit --chunks 100000 --processes 2

Each run starts somewhere in the joint range and sends a row of chunks: after the arm came to rest (`sync`), in the
middle of the one before (`pipelined`), or with a stop in between. The trajectories go through a copy of the joint
trajectory controller's interpolation with a random message delay. What it commands is checked twice: without delay
against the limits of the configuration, with delay against those of the datasheet.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from physgen_control.controller_config import ArmInterface, ControllerConfig, Mode
from physgen_control.motion.joint_path import JointTrajectory, quintic, with_start
from physgen_control.motion.kinematics import HOME, JointLimits, forward
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import NS_PER_S, Float64Array, RobotState
from physgen_sim_bridge.fake_franka.arm import ACCELERATION, JERK, LOWER, UPPER
from physgen_sim_bridge.fake_franka.follower import TrajectoryCommand, TrajectoryFollower

CYCLE = 0.001
MAX_DELAY = 0.02
CHUNKS_PER_RUN = 8
_ROUNDING = 1.0 + 1e-5
_POSITION_ROUNDING = 1e-9
# FR3: dq <= min(dq_max, max(0, -offset + sqrt(2 * deceleration * distance to the limit))), robot specifications.
_DQ_MAX = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
_OFFSET = np.array([0.6599, 0.2517, 0.2000, 0.3533, 0.5757, 0.4878, 0.4628])
_DECELERATION = np.array([6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0])


@dataclass(slots=True)
class Report:
    """What was sent, refused and violated."""

    sent: int = 0
    """Chunks."""
    samples: int = 0
    """Joint positions that were checked, seven per millisecond."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals by reason."""
    seams: Counter[str] = field(default_factory=Counter)
    """Chunks by how they were sent."""
    violations: Counter[str] = field(default_factory=Counter)
    """By limit; must stay empty."""
    peaks: dict[str, float] = field(default_factory=dict)
    """Largest share of each limit that was used."""

    def add(self, other: Report) -> None:
        """Add another report's counts."""
        self.sent += other.sent
        self.samples += other.samples
        for name in ("refused", "seams", "violations"):
            getattr(self, name).update(getattr(other, name))
        for name, value in other.peaks.items():
            self.peak(name, value)

    def peak(self, name: str, value: float) -> None:
        """Remember the largest share of a limit that was used."""
        self.peaks[name] = max(self.peaks.get(name, 0.0), value)


def speed_limit(positions: Float64Array, velocities: Float64Array) -> Float64Array:
    """Return the FR3's position-dependent speed limit [n, 7] in the direction of motion."""
    distance = np.where(velocities >= 0, UPPER - positions, positions - LOWER)
    allowed = -_OFFSET + np.sqrt(2 * _DECELERATION * np.maximum(distance, 0.0))
    return np.minimum(_DQ_MAX, np.maximum(allowed, 0.0))


def audit(chunks: int, seed: int, config: ControllerConfig) -> Report:
    """Send `chunks` accepted chunks and return what was seen."""
    report = Report()
    rng = np.random.default_rng(seed)
    while report.sent < chunks:
        _run(rng, config, report, min(CHUNKS_PER_RUN, chunks - report.sent))
    return report


class _Executed:
    """The command of one arm over time: what a joint trajectory controller interpolates after each message."""

    def __init__(self, start: Float64Array, now_ns: int) -> None:
        self.follower = TrajectoryFollower(start, now_ns)
        self._parts: list[tuple[Float64Array, ...]] = []

    def until(self, start_ns: int, end_ns: int) -> None:
        """Record position, velocity and acceleration at 1 kHz."""
        count = round((end_ns - start_ns) / NS_PER_S / CYCLE)
        if count > 0:
            self._parts.append(self.follower.sample(np.arange(count) * np.float64(CYCLE), start_ns))

    def samples(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        position, velocity, acceleration = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        return position, velocity, acceleration


def _run(rng: np.random.Generator, config: ControllerConfig, report: Report, wanted: int) -> None:
    planner = TrajectoryPlanner(config)
    positions = _start(rng, planner.limits)
    now_ns = 10 * NS_PER_S
    executed = _Executed(positions, now_ns)
    shown_ns, accepted, tries = now_ns, 0, 0
    scale = float(rng.choice([0.1, 0.4, 1.0, 1.9]))
    heading = rng.normal(size=6)
    while accepted < wanted and tries < 3 * CHUNKS_PER_RUN:
        tries += 1
        motions = _chunk(rng, config, scale, heading)
        state = _state(executed, shown_ns, now_ns)
        start = planner.command(now_ns) if accepted else (positions, np.zeros(7), np.zeros(7))
        try:
            planner.plan(motions, state, now_ns)
        except PlanRefusedError as error:
            report.refused[error.result.name] += 1
            heading = rng.normal(size=6)
        else:
            trajectory = planner.take()
            assert trajectory is not None
            accepted += 1
            report.sent += 1
            _check_plan(trajectory, start, planner.limits, report)
            shown_ns = _deliver(rng, executed, trajectory, shown_ns, now_ns)
        kind = str(rng.choice(["sync", "pipelined", "stop"], p=[0.35, 0.5, 0.15]))
        report.seams[kind] += 1
        if kind == "sync":
            now_ns += round(rng.uniform(0.66, 0.9) * NS_PER_S)
        else:
            now_ns += round(rng.uniform(MAX_DELAY, 0.45) * NS_PER_S)
        if kind == "stop":
            planner.stop(None, now_ns)
            trajectory = planner.take()
            if trajectory is not None:
                shown_ns = _deliver(rng, executed, trajectory, shown_ns, now_ns)
                now_ns += round(rng.uniform(MAX_DELAY, 0.4) * NS_PER_S)
    executed.until(shown_ns, now_ns + NS_PER_S)
    _check_executed(executed, report)


def _deliver(
    rng: np.random.Generator, executed: _Executed, trajectory: JointTrajectory, shown_ns: int, now_ns: int
) -> int:
    """Hand a trajectory over after a random delay; return the time [ns] up to which the command was recorded."""
    cycle_ns = round(CYCLE * NS_PER_S)
    arrival_ns = now_ns + round(rng.uniform(0.0, MAX_DELAY) * NS_PER_S)
    arrival_ns = shown_ns + max(0, arrival_ns - shown_ns) // cycle_ns * cycle_ns
    executed.until(shown_ns, arrival_ns)
    sentence = executed.follower.accept(
        TrajectoryCommand(
            start_ns=trajectory.start_ns,
            times=trajectory.times,
            positions=trajectory.positions,
            velocities=trajectory.velocities,
            accelerations=trajectory.accelerations,
        ),
        arrival_ns,
    )
    assert not sentence, sentence
    return arrival_ns


def _state(executed: _Executed, shown_ns: int, now_ns: int) -> RobotState:
    position, velocity, _ = executed.follower.sample(np.array([(now_ns - shown_ns) / NS_PER_S]), shown_ns)
    return RobotState(
        stamp_ns=now_ns,
        positions=position[0],
        velocities=velocity[0],
        gripper_width=0.08,
        tcp_pose=forward(position[0]),
    )


def _start(rng: np.random.Generator, limits: JointLimits) -> Float64Array:
    """Return joints [7] anywhere in their range, more often near the posture of work."""
    if rng.random() < 0.5:
        return np.clip(HOME + rng.normal(0.0, 0.35, 7), limits.lower + 0.1, limits.upper - 0.1)
    return rng.uniform(limits.lower + 0.1, limits.upper - 0.1)


def _chunk(
    rng: np.random.Generator, config: ControllerConfig, scale: float, heading: Float64Array
) -> np.ndarray:
    """Return a chunk, float32 [n, 6]: noise around a direction, both in units of what one step may be."""
    steps = int(rng.integers(1, 9))
    mix = rng.random()
    unit = mix * heading / np.linalg.norm(heading) + (1 - mix) * rng.normal(size=(steps, 6)) / np.sqrt(3)
    size = np.repeat([config.translation_limit, config.rotation_limit], 3)
    return (scale * unit * size).astype(np.float32)


def _check_plan(
    trajectory: JointTrajectory,
    start: tuple[Float64Array, Float64Array, Float64Array],
    limits: JointLimits,
    report: Report,
) -> None:
    times, knots = with_start(trajectory, start)
    sampled = quintic(times, knots, np.arange(0.0, times[-1] + CYCLE / 2, CYCLE))
    position, velocity, acceleration, jerk = sampled
    if np.any(position < limits.lower - _POSITION_ROUNDING) or np.any(
        position > limits.upper + _POSITION_ROUNDING
    ):
        report.violations["planned position"] += 1
    for name, values, limit in (
        ("velocity", velocity, limits.velocity),
        ("acceleration", acceleration, limits.acceleration),
        ("jerk", jerk, limits.jerk),
    ):
        _compare(f"planned {name}", np.abs(values) / limit, report)
    if np.any(knots[1][-1]) or np.any(knots[2][-1]):
        report.violations["planned end is not at rest"] += 1


def _check_executed(executed: _Executed, report: Report) -> None:
    position, velocity, acceleration = executed.samples()
    report.samples += position.size
    if np.any(position < LOWER) or np.any(position > UPPER):
        report.violations["executed position"] += 1
    jerk = np.diff(acceleration, axis=0) / CYCLE
    _compare("executed velocity", np.abs(velocity) / speed_limit(position, velocity), report)
    _compare("executed acceleration", np.abs(acceleration) / ACCELERATION, report)
    _compare("executed jerk", np.abs(jerk) / JERK, report)
    # Continuity: no sample may differ from what the derivatives before it say by more than the jerk limit explains.
    step = position[1:] - position[:-1] - CYCLE * velocity[:-1] - CYCLE**2 / 2 * acceleration[:-1]
    _compare("executed step", np.abs(step) / (JERK * CYCLE**3 / 6), report)


def _compare(name: str, shares: Float64Array, report: Report) -> None:
    peak = float(np.max(shares)) if shares.size else 0.0
    report.peak(name, peak)
    if not peak <= _ROUNDING:  # NaN is a violation too
        report.violations[name] += 1


def _part(arguments: tuple[int, int, ControllerConfig]) -> Report:
    return audit(*arguments)


def main(words: Sequence[str] | None = None) -> int:
    """Run the audit; status 1 when anything was violated."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(words)
    config = ControllerConfig(mode=Mode.ARMED, arm_interface=ArmInterface.JOINT_TRAJECTORY)
    begin = time.monotonic()
    report = Report()
    batch = 500
    parts = [
        (min(batch, options.chunks - start), options.seed + start, config)
        for start in range(0, options.chunks, batch)
    ]
    with ProcessPoolExecutor(options.processes) as pool:
        for part in pool.map(_part, parts):
            report.add(part)
    lines = [
        f"accepted chunks {report.sent}, refused {sum(report.refused.values())} {dict(report.refused)}",
        f"seams {dict(report.seams)}, joint samples at 1 kHz {report.samples}",
        *(f"  {name:24s} at most {100 * value:6.2f} % of the limit" for name, value in report.peaks.items()),
        f"violations {sum(report.violations.values())} {dict(report.violations) or ''}",
        f"{time.monotonic() - begin:.0f} s",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
