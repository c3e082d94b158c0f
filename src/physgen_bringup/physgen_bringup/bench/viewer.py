# SPDX-License-Identifier: Apache-2.0
"""What a viewer costs the graph that it looks at: the same episodes with and without it, in alternation.

The viewer draws into Rerun's server, as it does for a browser; nobody looks, so that drawing on a screen is not in it.
Imagined frames are the policy's own work, which a viewer asks for: they are a row of their own.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.processes.runner import LocalRunner
from physgen_bringup.results import results
from physgen_control.errors import UserError

WITHOUT, LOOKING, IMAGINING = "without", "viewer", "viewer, imagined frames"
VARIANTS = (WITHOUT, LOOKING, IMAGINING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerBenchmark:
    """The result: medians over a run of the time from observation to chunk [ms], by variant and round."""

    task: str
    policy: str
    episodes: int
    rounds: dict[str, list[float]]

    def median(self, variant: str) -> float:
        """Return the median over the rounds [ms]."""
        return statistics.median(self.rounds[variant])

    def share(self, variant: str) -> float:
        """Return how much longer a chunk takes than without a viewer, as a part of that: median over the rounds."""
        pairs = zip(self.rounds[variant], self.rounds[WITHOUT], strict=True)
        return statistics.median(with_it / without - 1.0 for with_it, without in pairs)


def run(arguments: LaunchArguments, rounds: int, say: Callable[[str], None]) -> ViewerBenchmark:
    """Measure every variant in each round, in an order that turns, so that a busy machine hurts all alike.

    Args:
        arguments: Of the graph, checked.
        rounds: How often everything is measured.
        say: Is told of every measurement.

    Raises:
        UserError: There is no round, or a graph of the benchmark failed.
    """
    if rounds < 1:
        raise UserError(f"bench viewer needs at least one round, got {rounds}")
    measured: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        turn = number % len(VARIANTS)
        for variant in (*VARIANTS[turn:], *VARIANTS[:turn]):
            measured[variant].append(_measure(arguments, variant, say))
            say(f"round {number + 1} of {rounds}, {variant}: {measured[variant][-1]:.1f} ms")
    return ViewerBenchmark(
        task=arguments.task, policy=arguments.policy, episodes=arguments.episodes, rounds=measured
    )


def _measure(arguments: LaunchArguments, variant: str, say: Callable[[str], None]) -> float:
    """Run the graph once and return the median time from observation to chunk [ms].

    Raises:
        UserError: The graph failed, or had no chunk.
    """
    with tempfile.TemporaryDirectory(prefix="bench-viewer-") as folder, PrivateDomain(folder) as domain:
        viewer = "none" if variant == WITHOUT else "rerun_web"
        graph = build_graph(
            replace(arguments, viewer=viewer, output_dir=Path(folder), bag_dir=Path(folder) / "bags")
        )
        if variant != WITHOUT:
            graph = graph.with_parameters("viewer_node", predicted=variant == IMAGINING)
        # Without a display no browser opens.
        hidden = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
        runner = LocalRunner(graph, domain_id=domain, console=say, environment=hidden)
        status = runner.run()
        if status != 0:
            raise UserError(f"the graph of the benchmark ended with status {status}; try it: physgen launch")
        found = results.read(Path(folder) / results.FILE_NAME).latencies.observation_to_chunk
    if not found:
        raise UserError("the benchmark's episodes had no chunk")
    return statistics.median(found)


def table(result: ViewerBenchmark) -> str:
    """The result for people."""
    lines = [
        f"{result.task}, policy {result.policy}: observation to chunk, medians of {len(result.rounds[WITHOUT])} rounds "
        f"of {result.episodes} episodes"
    ]
    for variant in VARIANTS:
        more = "" if variant == WITHOUT else f"  {100 * result.share(variant):+5.1f} %"
        lines.append(f"  {variant:<24}{result.median(variant):8.1f} ms{more}")
    return "\n".join(lines)
