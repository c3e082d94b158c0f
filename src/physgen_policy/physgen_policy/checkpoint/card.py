# SPDX-License-Identifier: Apache-2.0
"""The card of a checkpoint, README.md in its folder: whoever finds the folder knows what it is and was made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from physgen_control.program.plain_values import yaml_text
from physgen_policy.checkpoint.description import Description
from physgen_policy.checkpoint.folder import BASE_FILE

CARD_FILE = "README.md"
MARK = "<!-- written with the checkpoint; a card without this line is kept -->"
"""Only cards that carry it are replaced when the checkpoint is written again."""


def keep_or_write_card(partial: Path, old: Path, description: Description) -> None:
    """Put a card into a folder that is being written: the old folder's if a person wrote it, a new one otherwise."""
    card = old / CARD_FILE
    if card.is_file() and MARK not in card.read_text(encoding="utf-8", errors="replace"):
        shutil.copyfile(card, partial / CARD_FILE)
        return
    text = card_text(old.name, description, adapter=(partial / BASE_FILE).is_file())
    (partial / CARD_FILE).write_text(text, encoding="utf-8")


def card_text(name: str, description: Description, *, adapter: bool) -> str:
    """The card as Markdown with the metadata that the Hugging Face hub reads.

    Args:
        name: folder's name; a run's is always `checkpoint` or `adapter`, and then the run's own name is used.
        description: What the checkpoint says of itself.
        adapter: the folder holds what a fine-tune changed, not a whole checkpoint.
    """
    training, robot = description.training, description.embodiment
    config = _mapping(training.get("config"))
    policy = _mapping(config.get("policy"))
    base = str(policy.get("init_from") or "")
    title = str(config.get("name") or name)
    metadata: dict[str, Any] = {
        "library_name": "physgen",
        "pipeline_tag": "robotics",
        "tags": ["robotics", "video-action-model", "physgen"],
    }
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        metadata["base_model"] = base
    views = f"{len(robot.cameras)} views ({', '.join(robot.cameras)}) of {robot.image_width} x {robot.image_height}"
    rows = {
        "tasks": ", ".join(robot.tasks) or "none named",
        "robot": f"{robot.robot}, {robot.control_rate_hz:g} Hz, {robot.action_space}, frame {robot.base_frame}",
        "sees": f"{views} pixels",
        "predicts": f"{robot.num_chunks} chunks of {robot.horizon} actions",
        "began with": base or "new weights",
        "data": _data_text(training, config),
        "training": _training_text(training, policy),
        "validation": _numbers_text(_mapping(training.get("validation"))),
        "success": "not measured yet",
    }
    lines = [
        "---",
        yaml_text(metadata).rstrip(),
        "---",
        MARK,
        "",
        f"# {title}",
        "",
        f"A PhysGen policy{' (an adapter: what a fine-tune changed of its base)' if adapter else ''}, made by "
        "`physgen train`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in rows.items() if value),
        "",
        "```",
        f"./physgen eval --task {robot.tasks[0] if robot.tasks else 'TASK'} --checkpoint FOLDER --out runs/eval",
        "```",
        "",
        "Put what that measures into the table, with the seeds, before others rely on it.",
    ]
    if config:
        shown = json.dumps(config, indent=1, sort_keys=True)
        lines += [
            "",
            "<details><summary>Configuration</summary>",
            "",
            "```json",
            shown,
            "```",
            "",
            "</details>",
        ]
    return "\n".join(lines) + "\n"


def _data_text(training: dict[str, Any], config: dict[str, Any]) -> str:
    folders = config.get("dataset") or []
    names = [
        Path(str(folder)).name for folder in (folders if isinstance(folders, list | tuple) else [folders])
    ]
    episodes = f"{training['episodes']} episodes" if training.get("episodes") else ""
    return ", ".join(part for part in (episodes, " and ".join(names)) if part)


def _training_text(training: dict[str, Any], policy: dict[str, Any]) -> str:
    parts = [f"{training['step']} steps" if training.get("step") else ""]
    parts += [f"of {policy['batch_size']} windows" if policy.get("batch_size") else ""]
    parts += [f"learning rate {policy['learning_rate']:g}" if policy.get("learning_rate") else ""]
    parts += [f"tuning {policy['tuning']}" if policy.get("tuning") else ""]
    return ", ".join(part for part in parts if part)


def _numbers_text(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in values.items() if isinstance(value, int | float))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
