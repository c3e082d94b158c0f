# SPDX-License-Identifier: Apache-2.0
"""Finds, checks and loads the checkpoint for a task on a robot; every refusal is one sentence."""

from __future__ import annotations

import torch

from physgen_control.errors import UserError
from physgen_policy.checkpoint import CheckpointError, load_checkpoint, resolve_checkpoint
from physgen_policy.contract.embodiment_check import GraphDescription, find_mismatches
from physgen_policy.runtime.imagination import Imagination
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig
from physgen_policy.sampling.frame import FrameChoice, FrameSampler, preview_sampler


def choose_device(device: str) -> str:
    """Resolve "auto" to cuda where there is one.

    Raises:
        CheckpointError: cuda was asked for and is absent.
    """
    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device == "cuda" and not available:
        raise CheckpointError(
            "device is cuda, but torch finds no CUDA device; use device:=cpu or device:=auto"
        )
    return device


def load_policy(
    checkpoint: str, graph: GraphDescription, config: PolicyConfig, device: str = "auto"
) -> PhysGenPolicy:
    """Load a checkpoint if it fits the ROS graph that it is to act in.

    Args:
        checkpoint: Its name or folder; empty: the one shipped for graph.task.
        graph: The graph's task, robot, cameras and action, as far as they are known.
        config: How the policy runs.
        device: "auto", "cpu" or "cuda".

    Raises:
        CheckpointError: There is none, it is damaged, or it was trained for something else.
    """
    path = resolve_checkpoint(checkpoint, graph.task)
    half = config.dtype == "bfloat16" and config.engine.cast_weights
    loaded = load_checkpoint(path, choose_device(device), torch.bfloat16 if half else torch.float32)
    found = find_mismatches(loaded.embodiment, graph, loaded.norm.action_dim)
    if found:
        raise CheckpointError(f"the checkpoint {path} cannot be used here: {'; '.join(found)}")
    return PhysGenPolicy(loaded, config)


def load_imagination(
    checkpoint: str,
    task: str = "",
    *,
    frames: FrameChoice = "auto",
    temperature: float = 0.5,
    num_threads: int = 1,
    device: str = "auto",
) -> Imagination:
    """Load a checkpoint to roll it forward without a world.

    Args:
        checkpoint: Its name or folder; empty: the one shipped for `task`.
        task: Task whose shipped checkpoint is meant.
        frames: How frames are made, see PolicyConfig.frame_sampler.
        temperature: Of sampled frames.
        num_threads: CPU threads of torch, process-wide; 0 leaves it alone.
        device: "auto", "cpu" or "cuda".

    Raises:
        CheckpointError: there is none, or it is damaged.
        UserError: it has no mean frame, or there is no such temperature.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    loaded = load_checkpoint(resolve_checkpoint(checkpoint, task), choose_device(device))
    try:
        sampler = FrameSampler(temperature=temperature)
    except ValueError as error:
        raise UserError(str(error)) from error
    if frames == "mean":
        sampler = FrameSampler(kind="mean")
    elif frames == "auto" and preview_sampler(loaded.model.config).kind == "mean":
        sampler = preview_sampler(loaded.model.config)
    return Imagination(loaded, sampler)
