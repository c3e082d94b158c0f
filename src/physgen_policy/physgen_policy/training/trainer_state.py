# SPDX-License-Identifier: Apache-2.0
"""What a resume needs of a trainer, in one file: trained weights, their average, the optimisers' moments, the step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from physgen_control.errors import UserError
from physgen_policy.contract.tensor_file import save_file
from physgen_policy.training.optim import WeightAverage

STATE_FILE = "state.safetensors"
STATE_PREFIXES = ("optimizer", "muon")  # of the moments in the file, in the order of build_optimizers


def save_trainer_state(
    folder: Path, module: nn.Module, average: WeightAverage, optimizers: Sequence[Optimizer], step: int
) -> None:
    """Write the file atomically."""
    tensors = {
        f"module.{k}": v.detach().contiguous().clone()
        for k, v in module.named_parameters()
        if v.requires_grad
    }
    tensors |= {f"average.{k}": v.contiguous() for k, v in average.shadow.items()}
    for prefix, optimizer in zip(STATE_PREFIXES, optimizers, strict=False):
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"{prefix}.{index}.{key}"] = torch.as_tensor(value).contiguous()
    tensors["step"] = torch.tensor([step, average.step])
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{STATE_FILE}.partial"
    save_file(tensors, partial)
    partial.replace(folder / STATE_FILE)


def load_trainer_state(
    folder: Path, module: nn.Module, average: WeightAverage, optimizers: Sequence[Optimizer]
) -> int:
    """Fill everything from the file and return the step.

    Raises:
        UserError: The file is damaged, or of a run that trained other parts.
    """
    path = folder / STATE_FILE
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it to train the policy again from its first step"
        ) from error

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    trained = {k for k, v in module.named_parameters() if v.requires_grad}
    weights = part("module.")
    if trained - weights.keys() or part("average.").keys() != average.shadow.keys():
        raise UserError(
            f"{folder} was written by a run that trains other parts; keep tuning and model as they were, or choose "
            "another output"
        )
    # Files of earlier versions also hold what is not trained; it is what it was.
    module.load_state_dict({k: v for k, v in weights.items() if k in trained}, strict=False)
    for key, value in part("average.").items():
        average.shadow[key].copy_(value)
    for prefix, optimizer in zip(STATE_PREFIXES, optimizers, strict=False):
        moments: dict[int, dict[str, Any]] = {}
        for key, value in part(f"{prefix}.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        fits = all(
            index < len(parameters) and value.shape in ((), parameters[index].shape)
            for index, values in moments.items()
            for value in values.values()
        )
        if not fits:
            raise UserError(
                f"{folder} was written by a version or with settings that shared the parts among the optimizers "
                "differently; finish that run with them, or choose another output"
            )
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    step, average.step = (int(v) for v in tensors["step"])
    return step
