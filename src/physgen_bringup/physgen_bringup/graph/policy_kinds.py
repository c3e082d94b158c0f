# SPDX-License-Identifier: Apache-2.0
"""Who can act, by the name that users write: one table for launch, evaluation, demo and the episode runner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from physgen_control.program.plugins import POLICIES, entry_names, is_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyKind:
    """How somebody who acts is run.

    Attributes:
        node: Name of its node in a graph; "" where the graph starts none.
        in_graph: Whether a graph can be launched with it.
        in_process: Whether the loop in one process can run it.
        sees_images: Whether it looks at images, so that a world must draw.
        checkpoint: Whether it takes a checkpoint of this project.
    """

    node: str = ""
    in_graph: bool = True
    in_process: bool = True
    sees_images: bool = False
    checkpoint: bool = False


OURS = {
    "physgen": PolicyKind(node="policy_node", sees_images=True, checkpoint=True),
    "lerobot": PolicyKind(in_graph=False, sees_images=True),
    "expert": PolicyKind(node="expert_node"),
    "replay": PolicyKind(node="replay_node"),
    "random": PolicyKind(in_graph=False),
    "external": PolicyKind(in_process=False),
    "none": PolicyKind(in_process=False),
}
"""external: somebody else's node publishes the chunks. none: nobody acts but a person at a device."""

PICTURE_SIZE = 128
"""What the checkpoints of this project see [pixels]."""

OWN = PolicyKind(node="policy_node", sees_images=True)
"""A policy of somebody's own: an entry point of the group physgen.policies, or module:Class."""


OWN_NAMES = ("physworld",)
"""Policies of this project that are run as those of somebody's own (physgen_policy.contract.own_policy.TABLE)."""


def policy_kind(policy: str) -> PolicyKind:
    """Return how a policy is run; every name that is not ours is somebody's own."""
    return OURS.get(policy, OWN)


def is_own(policy: str) -> bool:
    """Return whether the name means a policy of somebody's own."""
    return policy not in OURS


def picture_size(policy: str) -> int:
    """Return the edge of the pictures that simulated cameras draw for whoever acts [pixels].

    Raises:
        PluginError: It is somebody's own and cannot be imported.
    """
    if not is_own(policy):
        return PICTURE_SIZE
    from physgen_policy.contract.own_policy import find_policy_class

    return find_policy_class(policy).picture_size


def policy_names(*, in_graph: bool) -> tuple[str, ...]:
    """Return the names of this project of those that run in a graph, or of those that an evaluation can run."""
    return (*_names(in_graph), *OWN_NAMES)


def _names(in_graph: bool) -> Iterator[str]:
    for name, kind in OURS.items():
        if kind.in_graph if in_graph else (kind.in_process or name == "external"):
            yield name


def unknown_policy(policy: str, *, in_graph: bool) -> str:
    """Return the sentence about a name that nobody has; "" where somebody has it."""
    known = (*policy_names(in_graph=in_graph), *entry_names(POLICIES))
    if policy in known or is_reference(policy):
        return ""
    return f"there is no policy {policy!r}; choose of {', '.join(known)}, or write module:Class"
