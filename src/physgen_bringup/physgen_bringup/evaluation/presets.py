# SPDX-License-Identifier: Apache-2.0
"""Published evaluation protocols by name, and where this harness departs from them; both are printed."""

from __future__ import annotations

from dataclasses import dataclass, field

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.results.results import pace_text
from physgen_control.errors import UserError

PAPER_TASKS = "PushCube-v1,PickCube-v1,StackCube-v1"
LIBERO_SUITES = "libero_spatial, libero_object, libero_goal or libero_10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published protocol."""

    name: str
    sim: str
    suite: str
    tasks: str
    """Default selection."""
    episodes: int
    seed: int
    runs: int = 1
    init_states: bool = False
    max_steps: dict[str, int] = field(default_factory=dict)
    """By suite, "" for any suite; 0 means the task's own limit."""
    rules: tuple[str, ...] = ()
    """What the publication fixes, for people."""
    departures: tuple[str, ...] = ()
    """What differs here, for people."""

    def step_limit(self, task: str) -> int:
        """Return the control steps per episode of a task such as `PushCube-v1` or `libero_10/3`; 0: the task's own."""
        return self.max_steps.get(task.partition("/")[0], self.max_steps.get("", 0))


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="physgen",
            sim="maniskill",
            suite="maniskill",
            tasks=PAPER_TASKS,
            episodes=125,
            seed=0,
            rules=("125 rollouts per task, one policy per task", "success at any step ends the episode"),
            departures=(
                "the paper does not print its step limits and seeds: ours are the task's limit and 0 to 124",
                "control mode pd_ee_delta_pose at 20 Hz with two 128 px cameras",
            ),
        ),
        Preset(
            name="rdt",
            sim="maniskill",
            suite="maniskill",
            tasks=PAPER_TASKS,
            episodes=25,
            seed=20241201,
            runs=10,
            max_steps={"": 400},
            rules=(
                "25 episodes with world seeds 20241201 + i, repeated with 10 seeds of the policy: 250 trials",
                "400 steps, going on past ManiSkill's own 50; success at any step ends the episode",
            ),
            departures=(
                "RDT acts in pd_joint_pos on one third-person 512 px image; here pd_ee_delta_pose and two 128 px ones",
            ),
        ),
        Preset(
            name="openvla",
            sim="libero",
            suite="libero_object",
            tasks="all",
            episodes=50,
            seed=0,
            init_states=True,
            max_steps={
                "libero_spatial": 220,
                "libero_object": 280,
                "libero_goal": 300,
                "libero_10": 520,
                "libero_90": 400,
            },
            rules=(
                "10 tasks x 50 stored initial states = 500 rollouts per suite",
                "10 settling steps that do not count; the world is seeded with 0 before every reset; OSC_POSE at 20 Hz",
                "step limits 220 spatial, 280 object, 300 goal, 520 long, 400 for libero_90",
            ),
        ),
        Preset(
            name="lerobot",
            sim="libero",
            suite="libero_object",
            tasks="all",
            episodes=10,
            seed=0,
            init_states=True,
            max_steps={
                "libero_spatial": 280,
                "libero_object": 280,
                "libero_goal": 300,
                "libero_10": 520,
                "libero_90": 400,
            },
            rules=(
                "10 rollouts per task, 100 per suite; step limit of spatial 280 (OpenVLA: 220)",
                "10 settling steps that do not count; OSC_POSE at 20 Hz",
            ),
        ),
    )
}


def find_preset(name: str, suite: str) -> Preset:
    """Return the preset, checked against the suite that was asked for ("" for the preset's own).

    Raises:
        UserError: No such preset, or a protocol of another simulator.
    """
    if name not in PRESETS:
        raise UserError(f"there is no protocol {name!r}; choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    if suite and suite.partition("_")[0] != preset.sim:
        better = LIBERO_SUITES if preset.sim == "libero" else preset.sim
        raise UserError(f"the protocol {name} is one of {preset.sim}, not of {suite}; use --sim {better}")
    return preset


def header(spec: EvaluationSpec, preset: Preset | None, transport: str = "in-process") -> str:
    """Return the rules of a run, for people, before it begins."""
    protocol = spec.protocol()
    seeds = f"seeds {spec.seed} to {spec.seed + spec.episodes - 1}"
    if spec.init_states:
        seeds = f"stored initial states 0 to {spec.episodes - 1}, seed {spec.seed}"
    runs = f", {spec.runs} runs" if spec.runs > 1 else ""
    part = f", part {spec.shard[0]} of {spec.shard[1]}" if spec.shard[1] > 1 else ""
    lines = [
        f"{protocol.suite} {protocol.task}, policy {protocol.policy}, {transport}, {pace_text(protocol)}, "
        f"{protocol.execution}",
        f"  episodes      {spec.episodes}, {seeds}{runs}{part}",
        f"  step limit    {protocol.max_steps}",
        f"  success rule  {protocol.success_rule}",
        f"  control mode  {protocol.control_mode}",
        *([f"  assets        {protocol.assets}"] if protocol.assets else []),
    ]
    if spec.checkpoint:
        lines.append(f"  checkpoint    {protocol.checkpoint_path} ({protocol.checkpoint_sha256[:12]})")
    if preset is not None:
        lines += [f"  protocol      {preset.name}: {preset.rules[0]}"]
        lines += [f"                {rule}" for rule in preset.rules[1:]]
        lines += [f"  departs       {departure}" for departure in preset.departures]
    return "\n".join(lines)
