# SPDX-License-Identifier: Apache-2.0
"""The rules of an evaluation, read from the task tables without starting a simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physgen_bringup.results.results import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """What a simulator says of a task; assets names the set of scene files where it is not the simulator's own."""

    control_mode: str
    success_rule: str
    max_steps: int
    assets: str = ""


def task_rules(sim: str, task: str) -> TaskRules:
    """Rules of a known task (see physgen_sim_bridge.registry.check_task)."""
    if sim == "maniskill":
        from physgen_sim_bridge.maniskill.world import TASKS

        entry = TASKS[task]
        # The world's WorldSpec says the same; asking it would start the simulator.
        return TaskRules(
            control_mode="pd_ee_delta_pose", success_rule=entry.success_rule, max_steps=entry.max_steps
        )
    if sim == "libero":
        from physgen_sim_bridge.libero.assets import describe_assets, find_assets
        from physgen_sim_bridge.libero.tasks import CONTROL_MODE, SUCCESS_RULE, libero_tasks

        return TaskRules(
            control_mode=CONTROL_MODE,
            success_rule=SUCCESS_RULE,
            max_steps=libero_tasks()[task].max_steps,
            assets=str(describe_assets(find_assets())),
        )
    from physgen_sim_bridge.registry import make_world, runs_by_itself

    if runs_by_itself(sim, task):
        from physgen_sim_bridge.fake_franka.table import TASKS as FRANKA_TASKS

        franka = FRANKA_TASKS[task]
        return TaskRules(
            control_mode="joint_trajectory", success_rule=franka.success_rule, max_steps=franka.max_steps
        )
    world = make_world(sim, task, render=False)
    try:
        spec = world.spec
        return TaskRules(
            control_mode=spec.control_mode, success_rule=spec.success_rule, max_steps=spec.default_max_steps
        )
    finally:
        world.close()


def make_protocol(
    *,
    sim: str,
    task: str,
    policy: str,
    checkpoint: Path | None,
    pace: str,
    execution: str,
    max_steps: int,
    transport: str,
    preset: str = "",
    delay_steps: int = 0,
    lead_steps: int = 0,
    batch: int = 0,
    perturbation: str = "",
) -> Protocol:
    """The protocol of a run; max_steps 0 means the task's own limit."""
    rules = task_rules(sim, task)
    return Protocol(
        suite=sim,
        task=task,
        policy=policy,
        checkpoint_path=str(checkpoint) if checkpoint else "",
        checkpoint_sha256=_weights_sha256(checkpoint) if checkpoint else "",
        pace=pace,
        execution=execution,
        control_mode=rules.control_mode,
        max_steps=max_steps or rules.max_steps,
        success_rule=f"ends with success at the first step after which {rules.success_rule}",
        transport=transport,
        preset=preset,
        delay_steps=delay_steps,
        lead_steps=lead_steps,
        batch=batch,
        assets=rules.assets,
        perturbation=perturbation,
        perturbation_list=_list_sha256() if perturbation else "",
    )


def _list_sha256() -> str:
    from physgen_sim_bridge.perturbation.frozen_list import SHA256

    return SHA256


def _weights_sha256(checkpoint: Path) -> str:
    from physgen_policy.checkpoint import checkpoint_sha256  # brings torch

    return checkpoint_sha256(checkpoint)
