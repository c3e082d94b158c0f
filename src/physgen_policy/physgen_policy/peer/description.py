# SPDX-License-Identifier: Apache-2.0
"""What a folder saved by lerobot says of its policy, checked against what our robot sees and does; loads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physgen_control.errors import UserError
from physgen_control.messages.topics import CAMERAS
from physgen_control.program.plain_values import read_json_object, shown
from physgen_control.types import ACTION_DIM, HORIZON
from physgen_policy.data.lerobot.features import ACTION_KEY, STATE_KEY, STATE_NAMES, image_key

TYPES = ("act", "diffusion")
LAST_CHECKPOINT = Path("checkpoints") / "last" / "pretrained_model"
"""Where lerobot's training script puts the newest policy of a run."""
PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class LerobotDescription:
    """A policy of lerobot."""

    folder: Path
    """Where it was saved."""
    type: str
    """Such as act or diffusion."""
    views: Mapping[str, tuple[int, int]]
    """Height and width of each camera it looks at [pixels]."""
    sees_state: bool
    """Whether it is given the robot's state."""
    num_observations: int
    """How many successive observations it looks at."""
    execute_steps: int
    """Actions to execute before the next prediction."""
    ensembles: bool
    """It averages predictions of successive steps (ACT's temporal ensembling)."""


def find_policy(path: Path) -> Path:
    """Return the folder of the saved policy: the path itself, or the newest one of the training run that it is.

    Raises:
        UserError: There is no such folder.
    """
    folder = path.expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"{path} is not a folder; give one that lerobot saved (RUN/{LAST_CHECKPOINT})")
    last = folder / LAST_CHECKPOINT
    return last.resolve() if last.is_dir() else folder


def read_lerobot_description(path: Path) -> LerobotDescription:
    """Read and check `config.json` and the names of the files beside it.

    Raises:
        UserError: It is no policy of lerobot, holds pickles, or does not fit our observations and actions.
    """
    folder = find_policy(path)
    config = _read_json(folder, "config.json")
    _check_files(folder)
    kind = str(config.get("type"))
    if kind not in TYPES:
        raise UserError(f"{folder} is of type {kind!r}; of lerobot's policies {', '.join(TYPES)} can be run")
    try:
        inputs, outputs = dict(config["input_features"]), dict(config["output_features"])
        shapes = {name: tuple(map(int, feature["shape"])) for name, feature in (inputs | outputs).items()}
        observations, execute = int(config["n_obs_steps"]), int(config.get("n_action_steps") or 1)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{folder}/config.json does not describe a policy of lerobot: {error!r}") from error
    views = _views(folder, {name: shapes[name] for name in inputs})
    if set(outputs) != {ACTION_KEY} or shapes[ACTION_KEY] != (ACTION_DIM,):
        raise UserError(
            f"{folder} predicts {_features(shapes, outputs)}, but an action here has {ACTION_DIM} numbers"
        )
    return LerobotDescription(
        folder=folder,
        type=kind,
        views=views,
        sees_state=STATE_KEY in inputs,
        num_observations=max(observations, 1),
        execute_steps=min(HORIZON, max(execute, 1)),
        ensembles=config.get("temporal_ensemble_coeff") is not None,
    )


def _views(folder: Path, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    keys = {image_key(camera): camera for camera in CAMERAS}
    views = {}
    for name, shape in inputs.items():
        if name in keys and len(shape) == 3 and shape[0] == 3 and min(shape) > 0:
            views[keys[name]] = (shape[1], shape[2])
        elif name != STATE_KEY or shape != (len(STATE_NAMES),):
            raise UserError(
                f"{folder} looks at {_features(inputs, inputs)}, but there are only {', '.join(keys)} (3 x height x "
                f"width) and {STATE_KEY} ({len(STATE_NAMES)} numbers); train it on a dataset of `physgen convert`"
            )
    return views


def _features(shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({' x '.join(map(str, shapes[name]))})" for name in names) or "nothing"


def _check_files(folder: Path) -> None:
    if not (folder / "model.safetensors").is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        if pickles:
            raise UserError(
                f"{folder} holds {', '.join(pickles)}, which only unpickling could read; save the policy as "
                "model.safetensors"
            )
        raise UserError(f"{folder} has no model.safetensors; give a policy that lerobot saved")
    for name in PROCESSORS:
        steps = _read_json(folder, name).get("steps")
        for step in steps if isinstance(steps, list) else [None]:
            # A step may also name any class of any module, which would be imported and called.
            if not isinstance(step, dict) or not isinstance(step.get("registry_name"), str):
                raise UserError(f"{folder}/{name} has a step that is none of lerobot's own; it is not run")
            state = step.get("state_file")
            if state is not None and not isinstance(state, str):
                raise UserError(f"{folder}/{name} keeps numbers in {shown(state)}, which is no file's name")
            if state is not None and (Path(state).suffix != ".safetensors" or Path(state).name != state):
                raise UserError(
                    f"{folder}/{name} keeps numbers in {state}; only safetensors beside it are read"
                )


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        return read_json_object(folder / name)
    except UserError as error:
        if not (folder / name).exists():
            raise UserError(f"{folder} has no {name}; give a policy that lerobot saved") from error
        raise
