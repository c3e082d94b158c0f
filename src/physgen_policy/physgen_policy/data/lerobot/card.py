# SPDX-License-Identifier: Apache-2.0
"""The card of a LeRobot dataset (README.md): what a hub shows of it, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from physgen_policy.data.lerobot.features import ACTION_NAMES, STATE_NAMES

HEAD = """\
---
task_categories:
- robotics
tags:
- LeRobot
configs:
- config_name: default
  data_files: data/*/*.parquet
---
"""


def dataset_card(name: str, info: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """Return the text of README.md.

    Args:
        name: The dataset's.
        info: What meta/info.json says.
        tasks: The instructions.
    """
    seconds = info["total_frames"] / info["fps"]
    told = [
        f"# {name}",
        f"{info['total_episodes']} demonstrations of the robot `{info['robot_type'] or 'unknown'}`, "
        f"{info['total_frames']} control steps at {info['fps']} Hz ({seconds / 60:.1f} minutes), recorded with the "
        f"PhysGen robot stack; format LeRobot {info['codebase_version']}.",
        "Instructions:",
        "\n".join(f"- {task}" for task in tasks),
        "| column | numbers | meaning |\n| --- | --- | --- |\n"
        f"| `action` | {', '.join(ACTION_NAMES)} | one step of the hand in the base frame: translation [m], rotation "
        "vector [rad]; gripper +1 open, -1 closed; as applied, after all limits |\n"
        f"| `observation.state` | {', '.join(STATE_NAMES)} | joints [rad], finger distance [m], position [m] and "
        "quaternion of the tool in the base frame |\n"
        "| `is_intervention` | | a human was in command |\n"
        "| `is_label` | | false where the action shows not what to do (a pushed or led step) |",
        "Row k holds what was seen and measured before action k. Successes only. Say under which licence you publish "
        "it: add `license:` to the head of this file.",
    ]
    return HEAD + "\n" + "\n\n".join(told) + "\n"
