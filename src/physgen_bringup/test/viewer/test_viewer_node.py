# SPDX-License-Identifier: Apache-2.0
"""The viewer's node beside a running graph: it draws what the graph publishes, and the graph does without it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")
pytest.importorskip("rerun", reason="the viewer is not installed (./physgen setup --viewer)")

from graph_probe import GraphProbe
from rrd_file import rows, values
from running_processes import children

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.graph.endpoints import TABLE
from physgen_bringup.processes.runner import LocalRunner
from physgen_bringup.viewer import blueprint as names
from physgen_control.messages import topics
from physgen_control.types import SafetyState

pytestmark = pytest.mark.ros

WORDS = ("sim:=fake", "task:=FrankaPush-v0", "policy:=expert", "camera_profile:=96x64x10", "viewer:=rerun")


@contextmanager
def running(folder: Path) -> Iterator[tuple[LocalRunner, GraphProbe]]:
    """The fake arm, its expert and a viewer that, without a display, writes a file."""
    graph = build_graph(check_arguments(parse_arguments([*WORDS, f"output_dir:={folder}"])))
    graph = graph.with_parameters("fake_franka_node", state_rate=40.0)
    graph = replace(graph, nodes=tuple(replace(node, required=False) for node in graph.nodes), ends_with=None)
    with PrivateDomain() as domain, GraphProbe(domain) as probe:
        runner = LocalRunner(graph, domain_id=domain, console=lambda line: None)
        try:
            runner.start()
            probe.wait_for(lambda: viewer_reads(probe), "the viewer's subscriptions")
            yield runner, probe
        finally:
            runner.stop()
    assert children() == []


def viewer_reads(probe: GraphProbe) -> bool:
    """The viewer is connected to all of its topics."""
    if "viewer_node" not in probe.node.get_node_names():
        return False
    read = {name for name, _ in probe.node.get_subscriber_names_and_types_by_node("viewer_node", "/")}
    # Not every installation has the messages of /tf_static.
    return set(TABLE["viewer_node"].subscribes) - {topics.TF_STATIC} <= read


DRAWN = (
    *(names.FIXED, names.WRIST, names.PREDICTED, names.EXECUTED, names.TRANSLATION, names.OBJECTS),
    f"{names.FIXED}/predicted",  # the camera of the fake arm is known
    f"{names.ROBOT}/joints/fr3_joint1",
)


ENOUGH = 400_000
"""Size [bytes] of a file with dozens of pictures; arm and layout alone have less than half."""


@pytest.fixture
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.realtime
def test_a_running_arm_is_drawn_and_goes_on_when_the_viewer_is_killed(tmp_path, no_display):
    """Pictures, arm, prediction, path, plots, states; a viewer that stands still or dies concerns nobody."""
    file = tmp_path / "viewer.rrd"
    with running(tmp_path) as (runner, probe):
        published = {name for name, _ in probe.node.get_publisher_names_and_types_by_node("viewer_node", "/")}
        assert published <= {"/rosout", "/parameter_events"}
        # A file that is written to cannot be read, but it grows.
        probe.wait_for(lambda: file.stat().st_size > ENOUGH, "dozens of pictures", 120.0)
        os.kill(runner.pid("viewer_node"), signal.SIGSTOP)
        count = len(probe.applied)
        probe.wait_for(
            lambda: len(probe.applied) > count + 40, "two seconds beside a viewer that stands still"
        )
        os.kill(runner.pid("viewer_node"), signal.SIGCONT)
        os.kill(runner.pid("viewer_node"), signal.SIGINT)
        probe.wait_for(lambda: not runner.alive("viewer_node"), "the viewer's end")
        count = len(probe.applied)
        probe.wait_for(lambda: len(probe.applied) > count + 20, "a second without a viewer")
        assert probe.safety[-1].state != SafetyState.FAULT
        assert "Traceback" not in "\n".join(runner.last_lines("viewer_node"))
    found = rows(file)
    assert all(found[entity] > 3 for entity in DRAWN), found
    assert ["armed"] in values(file, f"{names.STATES}/safety", "StateChange:state")
