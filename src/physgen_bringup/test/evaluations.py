# SPDX-License-Identifier: Apache-2.0
"""Results of an evaluation that never ran, for tests of what is computed from results."""

from collections.abc import Collection, Iterable
from typing import Any

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
