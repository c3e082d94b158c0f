# SPDX-License-Identifier: Apache-2.0
"""What one types after a command, with the values of this run: the words that `Progress.next` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.graph.arguments import LaunchArguments

PHYSGEN = "./physgen"
FILMED_FAILURES = 3


def simulator_of(task: str) -> str:
    """The simulator that has a task; "" for one of no simulator, such as a real arm's."""
    from physgen_sim_bridge.registry import TABLE, known_tasks

    return next((sim for sim in TABLE.ours if task in known_tasks(sim)), "")


def after_training(checkpoint: Path, episodes: int = 25) -> list[str]:
    """Evaluate a checkpoint on the first of its tasks; on a task of no simulator: launch it."""
    from physgen_policy.checkpoint import read_description

    tasks = read_description(checkpoint).embodiment.tasks
    sim = simulator_of(tasks[0]) if tasks else ""
    if not sim:
        task = f"task:={tasks[0] if tasks else 'TASK'}"
        return [PHYSGEN, "launch", "sim:=none", task, f"checkpoint:={checkpoint}", "robot_ip:=ADDRESS"]
    from physgen_sim_bridge.registry import runs_by_itself

    if runs_by_itself(sim, tasks[0]):
        return [PHYSGEN, "launch", f"sim:={sim}", f"task:={tasks[0]}", f"checkpoint:={checkpoint}"]
    words = [PHYSGEN, "eval", "--sim", sim, "--task", tasks[0], "--checkpoint", str(checkpoint)]
    return [*words, "--episodes", str(episodes), "--out", str(_beside(checkpoint.parent, "eval"))]


def after_evaluation(spec: EvaluationSpec, words: Sequence[str], *, failures: int, crashes: int) -> list[str]:
    """Try crashes again, compare a fine-tuned checkpoint with its base, look at failures, or launch what works."""
    again = [PHYSGEN, "eval", *words]
    if crashes:
        return again
    base = base_of(spec.checkpoint) if spec.checkpoint and spec.policy == "physgen" else ""
    out = _shown(spec.out)
    if base:
        other = _beside(out, "base")
        compare = [PHYSGEN, "eval", "compare", str(other), str(out)]
        if (other / "results.json").is_file():
            return compare
        who = ["--checkpoint", base, *([] if _knows(base, spec.task) else ["--any-task"])]
        return [*_same_trials(spec, who, other), "&&", *compare]
    if spec.policy != "physgen" and not spec.sim.startswith("fake"):
        other = _beside(out, "physgen")
        return [*_same_trials(spec, [], other), "&&", PHYSGEN, "eval", "compare", str(out), str(other)]
    if failures and "--through-ros" not in words and not any(w.startswith("--failure-videos") for w in words):
        return [*again, "--failure-videos", str(FILMED_FAILURES)]
    launch = [PHYSGEN, "launch", f"sim:={spec.sim}", f"task:={spec.task}", f"policy:={spec.policy}"]
    checkpoint = [f"checkpoint:={_shown(spec.checkpoint)}"] if spec.checkpoint else []
    return [*launch, *checkpoint, "record:=true"]


def after_launch(checked: LaunchArguments, words: Sequence[str], status: int) -> list[str]:
    """Look at what was recorded; record what was not; look at the logs of what failed."""
    if checked.record:
        return [PHYSGEN, "view", str(_shown(checked.bag_dir))]
    if status:
        return ["less", str(_shown(checked.output_dir / "logs"))]
    kept = [word for word in words if not word.startswith(("record:=", "output_dir:="))]
    return [PHYSGEN, "launch", *kept, "record:=true"]


def base_of(checkpoint: Path) -> str:
    """The checkpoint that one was fine-tuned from, if it can still be found; "" otherwise."""
    from physgen_control.errors import UserError
    from physgen_policy.checkpoint import read_description, resolve_checkpoint

    try:
        training = read_description(checkpoint).training
        name = training.get("config", {}).get("policy", {}).get("init_from") or ""
        if not isinstance(name, str) or not name or resolve_checkpoint(name, "").samefile(checkpoint):
            return ""
    except (UserError, AttributeError, OSError):
        return ""
    return name


def _knows(checkpoint: str, task: str) -> bool:
    from physgen_policy.checkpoint import read_description, resolve_checkpoint

    return task in read_description(resolve_checkpoint(checkpoint, "")).embodiment.tasks


def _same_trials(spec: EvaluationSpec, who: list[str], out: Path) -> list[str]:
    words = [PHYSGEN, "eval", "--sim", spec.sim, "--task", spec.task, *who]
    words += ["--episodes", str(spec.episodes), "--seed", str(spec.seed)]
    words += ["--max-steps", str(spec.max_steps)] if spec.max_steps else []
    return [*words, "--out", str(out)]


def _beside(folder: Path, suffix: str) -> Path:
    return _shown(folder.with_name(f"{folder.name}-{suffix}"))


def _shown(path: Path) -> Path:
    """A path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
