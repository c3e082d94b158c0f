# SPDX-License-Identifier: Apache-2.0
"""The rules of an evaluation, read from the task tables without starting a simulator."""

from __future__ import annotations

import hashlib
from pathlib import Path

from physgen_bringup.results.results import Protocol
from physgen_sim_bridge.registry import find_world


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
    """Return the protocol of a run; max_steps 0 means the task's own limit."""
    rules = find_world(sim).rules(task)
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
    from physgen_policy.checkpoint import checkpoint_sha256, is_checkpoint  # brings torch

    return checkpoint_sha256(checkpoint) if is_checkpoint(checkpoint) else folder_sha256(checkpoint)


def folder_sha256(folder: Path) -> str:
    """Return one hash of all files of a folder, by name and content: what a policy of somebody's own is made from."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
