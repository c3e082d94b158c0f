# SPDX-License-Identifier: Apache-2.0
"""The real policy node publishes how wrong its expectations were, and has the arm hold where they were too wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from policy_harness import Graph, PolicyProcess, private_domain
from std_srvs.srv import Trigger
from tiny_checkpoint import write_tiny_checkpoint

from physgen_control.messages import topics
from physgen_control.messages.status import prediction_report_from_msg
from physgen_control.nodes import qos
from physgen_msgs.msg import PredictionError
from physgen_policy.nodes.prediction_watch import ASK_AGAIN_S

pytestmark = pytest.mark.ros
FAST = {"denoise_steps": 4, "frame_ar_steps": 2, "frame_denoise_steps": 2}


@pytest.fixture
def graph() -> Iterator[tuple[int, Graph]]:
    with private_domain() as domain:
        world = Graph(domain)
        try:
            yield domain, world
        finally:
            world.close()


@pytest.mark.parametrize("limit", [0.1, 200.0])
def test_a_picture_that_nobody_expected_has_the_arm_hold(
    graph: tuple[int, Graph], tmp_path: Path, limit: float
) -> None:
    """Random weights expect nothing that is: a small limit is passed at the second picture, a large one never."""
    domain, world = graph
    errors: list[PredictionError] = []
    holds: list[Any] = []

    def hold(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        holds.append(len(errors))
        if len(holds) == 1:
            time.sleep(2 * ASK_AGAIN_S + 0.5)  # an answer that is late, or will never come
        response.success = True
        return response

    world.node.create_subscription(PredictionError, topics.PREDICTION_ERROR, errors.append, qos.COMMAND)
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny")
    process = PolicyProcess(
        domain, tmp_path / "node.txt", checkpoint=checkpoint, prediction_error_limit=limit, **FAST
    )
    try:
        world.wait_ready()
        world.start_episode("surprise")
        world.observe()
        for seq in range(12):
            chunk = world.wait_chunk(seq)
            world.spin_for(0.3)  # a frame is imagined only while no observation waits
            if len(errors) >= 2:
                break
            for index in range(8):
                world.apply(chunk, index)
                world.observe()
        world.spin_until(lambda: len(errors) >= 2, 30.0, "two errors")
        first = prediction_report_from_msg(errors[0])
        assert (first.stamp_ns - world.episode.start_ns) % (8 * 50_000_000) == 0
        assert first.stamp_ns > world.episode.start_ns
        assert all(0.0 < error < 255.0 for error in first.errors)
        assert errors[0].session_id == world.chunks[0].session_id
        if limit < 1.0:
            # Nobody answers yet: it is asked until somebody does.
            world.spin_for(1.0)
            world.node.create_service(Trigger, topics.HOLD, hold)
            world.spin_until(lambda: len(holds) > 1, 60.0, "a second request to hold while none was answered")
        else:
            world.node.create_service(Trigger, topics.HOLD, hold)
            world.spin_for(1.0)
            assert not holds
    finally:
        code = process.close()
    assert code == 0, process.output
    assert ("asked to hold" in process.output) is (limit < 1.0)
