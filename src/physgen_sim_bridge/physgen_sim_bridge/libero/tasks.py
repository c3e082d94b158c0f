# SPDX-License-Identifier: Apache-2.0
"""The 130 tasks of LIBERO's five suites as values: names, words, limits; read without LIBERO itself.

tasks.json holds, in the benchmark's order, each task's name and the SHA-256 of its BDDL file and of its stored initial
states as hf-libero 0.1.4 ships them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STEP_LIMITS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Control steps per episode after settling, as OpenVLA, OpenVLA-OFT and openpi count them (longest demonstration of the
suite, rounded up)."""

SETTLE_STEPS = 10
"""Steps without motion after a stored initial state: its objects start a few centimetres in the air."""

CONTROL_MODE = "OSC_POSE"

SUCCESS_RULE = "every goal predicate of the task's BDDL file holds"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiberoTask:
    """One task of the benchmark."""

    suite: str
    """Such as libero_goal."""
    index: int
    """Its place in the suite."""
    name: str
    """The name of its files."""
    bddl_sha256: str
    """Pins its description in hf-libero."""
    init_sha256: str
    """Pins its stored initial states in hf-libero."""

    @property
    def task_id(self) -> str:
        """The name users type: suite/index."""
        return f"{self.suite}/{self.index}"

    @property
    def instruction(self) -> str:
        """The benchmark's sentence: the file's name, for LIBERO-100 without its scene."""
        words = self.name.split("_")
        scene = [position for position, word in enumerate(words) if word.startswith("SCENE")]
        return " ".join(words[scene[0] + 1 :] if scene else words)

    @property
    def max_steps(self) -> int:
        """Step limit of the suite [control steps]."""
        return STEP_LIMITS[self.suite]


@cache
def libero_tasks() -> dict[str, LiberoTask]:
    """Return every task by its id (libero_object/3), suites and tasks in the benchmark's order."""
    table = json.loads((Path(__file__).parent / "tasks.json").read_text())
    tasks = [
        LiberoTask(suite=suite, index=index, **entry)
        for suite, entries in table.items()
        for index, entry in enumerate(entries)
    ]
    return {task.task_id: task for task in tasks}
