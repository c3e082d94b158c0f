# SPDX-License-Identifier: Apache-2.0
"""What a run was started with, compared with what `--resume` gives it: changes are applied and recorded, or refused."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from physgen_control.errors import UserError
from physgen_control.program.plain_values import build, read_json_object, shown, yaml_text
from physgen_policy.training.config import TrainConfig, load_config

CONFIG_FILE, RECORD_FILE, STATE_FILE = "config.yaml", "run.json", "policy/state.safetensors"

MAY_CHANGE = frozenset(
    {"name", "output", "cache", "device", "num_threads", "precision", "store_dtype", "dataset"}
    | {"validation_episodes", "validate_every", "save_every", "log_every", "track"}
    | {
        f"policy.{key}"
        for key in (
            "steps",
            "batch_size",
            "single_batch_size",
            "single_fraction",
            "learning_rate",
            "min_learning_rate",
            "warmup_steps",
            "weight_decay",
            "clip_norm",
            "obs_loss_weight",
            "obs_loss_every",
            "latent_noise",
            "aligned_fraction",
            "recompute_blocks",
        )
    }
)
"""How a run goes on: where, how fast, how far. Not what is trained on what. `dataset`: the same data elsewhere."""


class ResumeError(UserError):
    """A run cannot go on with what it is given; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What run.json holds."""

    data: tuple[str, ...]
    """Fingerprints of the datasets."""
    environment: dict[str, Any]
    """What else the numbers of the run depend on."""
    changes: tuple[dict[str, Any], ...] = field(default=())
    """Every change since the start."""


def environment_of(device: torch.device, processes: int, precision: str) -> dict[str, str]:
    """Return what else the numbers of a run depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
        "processes": str(processes),
        "precision": precision,
    }


def begin_run(
    folder: Path, config: TrainConfig, data: tuple[str, ...], environment: dict[str, str]
) -> list[str]:
    """Record a new run, or go on with one; nothing in the folder is touched before both are found to fit.

    Args:
        folder: The run folder.
        config: What the run is to be now.
        data: Fingerprints of the datasets, in their order.
        environment: What `environment_of` returns.

    Returns:
        The changes since the run was last started, as sentences.

    Raises:
        ResumeError: The run was something else, or a file of it is damaged.
    """
    changes: list[dict[str, Any]] = []
    earlier: tuple[dict[str, Any], ...] = ()
    if (folder / CONFIG_FILE).exists():
        record = _read_record(folder)
        before = load_config(folder / CONFIG_FILE)
        changes = _changes(folder, before, config, record, data, environment)
        earlier = record.changes
    now = RunRecord(data=data, environment=dict(environment), changes=(*earlier, *changes))
    _write(folder / CONFIG_FILE, yaml_text(plain(config.to_dict())))
    _write(folder / RECORD_FILE, json.dumps(plain(asdict(now)), indent=1) + "\n")
    return [f"{change['key']}: {shown(change['from'])} -> {shown(change['to'])}" for change in changes]


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return tuples as lists, for YAML and JSON."""
    return {
        key: plain(value) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
    }


def _changes(
    folder: Path,
    before: TrainConfig,
    config: TrainConfig,
    record: RunRecord,
    data: tuple[str, ...],
    environment: dict[str, str],
) -> list[dict[str, Any]]:
    old, new = _flat(plain(before.to_dict())), _flat(plain(config.to_dict()))
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    refused = [
        f"{key} was {shown(old.get(key))} and is {shown(new.get(key))}"
        for key in differing
        if key not in MAY_CHANGE
    ]
    if data != record.data:
        refused.append("the episodes of the dataset are others")
    if refused:
        raise ResumeError(
            f"{folder} cannot go on: {'; '.join(refused)}. Give it what it had, or choose another output (and "
            "`policy.init_from` to begin with its checkpoint)"
        )
    step = _finished_step(folder)
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    pairs = [(key, old.get(key), new.get(key)) for key in differing]
    pairs += [
        (f"environment.{key}", record.environment.get(key), value)
        for key, value in environment.items()
        if record.environment.get(key) != value
    ]
    return [{"when": when, "step": step, "key": key, "from": a, "to": b} for key, a, b in pairs]


def _finished_step(folder: Path) -> int:
    """Return the step from which the run goes on.

    Raises:
        ResumeError: The file of its state is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="np") as state:
            return int(state.get_tensor("step")[0])
    except (SafetensorError, OSError, ValueError, LookupError) as error:
        raise ResumeError(
            f"{path} is damaged ({error}); delete it to train the policy again from its first step"
        ) from error


def _read_record(folder: Path) -> RunRecord:
    path = folder / RECORD_FILE
    if not path.is_file():
        raise ResumeError(
            f"{folder} has no {RECORD_FILE}, so that nobody can say whether it was the same run: it is of an earlier "
            "version; choose another output and begin with its checkpoint by `policy.init_from`"
        )
    return build(RunRecord, read_json_object(path, ResumeError), str(path), ResumeError)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys with dots; what `architecture` holds is one value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and key != "architecture":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
