# SPDX-License-Identifier: Apache-2.0
"""Results of an evaluation that never ran, for tests of what is computed from results, and sessions of their own."""

from collections.abc import Collection, Iterable
from typing import Any

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.episode.inprocess import InProcess, Stage
from physgen_bringup.results.results import EpisodeResult, Evaluation, Protocol


def evaluation_of(
    successes: Iterable[bool], *, crashed: Collection[int] = (), first: int = 0, **changes: Any
) -> Evaluation:
    rules: dict[str, Any] = {
        "suite": "fake",
        "task": "FakePush-v0",
        "policy": "expert",
        "pace": "lockstep",
        "execution": "sync",
        "control_mode": "ee",
        "max_steps": 100,
        "success_rule": "the block is at the goal",
        "transport": "in-process",
    }
    evaluation = Evaluation(Protocol(**(rules | changes)))
    for index, success in enumerate(successes):
        evaluation.add(
            EpisodeResult(
                seed=first + index,
                success=success,
                steps=10,
                crashed=index in crashed,
                error="",
                wall_s=1.0,
                stale_steps=0,
                limited_steps=0,
            )
        )
    return evaluation


def make_in_process(spec: EvaluationSpec) -> InProcess:
    """A session with a world and a policy of its own; closing it closes the world.

    A policy that has a process of its own keeps it as long as this one lives; a Stage can end it before.
    """
    stage = Stage()
    try:
        return stage.session(spec)
    except BaseException:
        stage.close()
        raise
