# SPDX-License-Identifier: Apache-2.0
"""Which graph a message belongs to: sessions and episodes of one graph carry its name before their own.

Two graphs that share a DDS domain by mistake would take each other's messages. An id is `GRAPH.REST`; one without a
graph, such as that of a policy which was started by hand, belongs to whoever hears it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping

VARIABLE = "PHYSGEN_GRAPH"
"""Set by whoever starts a graph, the same for all its nodes."""


def new_graph() -> str:
    """Return a name for a graph that is about to be started."""
    return uuid.uuid4().hex[:8]


def own_graph(environment: Mapping[str, str] = os.environ) -> str:
    """Return the graph that this process belongs to; empty if to none."""
    return environment.get(VARIABLE, "")


def new_id() -> str:
    """Return a new id of a session or an episode in this process's graph."""
    graph, rest = own_graph(), uuid.uuid4().hex
    return f"{graph}.{rest}" if graph else rest


def is_foreign(identity: str, graph: str) -> bool:
    """Return whether an id names another graph than `graph`."""
    named, dot, _ = identity.partition(".")
    return bool(dot and graph and named != graph)
