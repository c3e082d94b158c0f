# SPDX-License-Identifier: Apache-2.0
"""A graph from its start to its end, as a command runs it: alone in its folder and domain, its course told."""

from __future__ import annotations

from physgen_bringup.graph.domain import graph_domain
from physgen_bringup.graph.spec import Graph
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.program.folder_lock import folder_lock
from physgen_control.program.progress import Progress


def run_graph(graph: Graph, progress: Progress) -> int:
    """Run a graph to its end, tell its course, and return its exit status; raises UserError as LocalRunner does."""
    out = graph.output_dir
    with (
        folder_lock(out),
        progress.stage(f"{len(graph.nodes)} nodes run, their logs are in {out / 'logs'}"),
        graph_domain(out, graph.environment, progress.say) as domain,
    ):
        return LocalRunner(graph, domain_id=domain, console=progress.say).run()
