# SPDX-License-Identifier: Apache-2.0
"""A graph takes messages of its own and of nobody's, never of another graph."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_strategies import make_action, make_episode

from physgen_control.bags.foreign_messages import ForeignMessages
from physgen_control.bags.serialize import BUILDER, serialize
from physgen_control.controller.gate import SessionLog
from physgen_control.messages import build, graph_identity, topics
from physgen_control.messages.graph_identity import is_foreign, new_graph, new_id
from physgen_control.types import AckResult

GRAPHS = st.text("0123456789abcdef", min_size=1, max_size=8)


@given(GRAPHS, GRAPHS, st.text("0123456789abcdef-", max_size=12))
def test_only_an_id_that_names_another_graph_is_foreign(mine: str, other: str, rest: str) -> None:
    assert is_foreign(f"{other}.{rest}", mine) == (mine != other)
    assert not is_foreign(rest, mine)  # a policy that somebody started by hand
    assert not is_foreign(f"{other}.{rest}", "")  # a controller that somebody started by hand


def test_ids_are_of_the_graph_of_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(graph_identity.VARIABLE, raising=False)
    assert "." not in new_id()
    mine, other = new_graph(), new_graph()
    monkeypatch.setenv(graph_identity.VARIABLE, mine)
    first, second = new_id(), new_id()
    assert first != second
    assert not is_foreign(first, mine)
    assert is_foreign(first, other)


def test_a_chunk_of_another_graph_is_refused() -> None:
    from controller_rig import make_chunk

    log = SessionLog("mine")
    refusal = log.check(make_chunk(0, session_id="other.1"))
    assert refusal is not None
    assert refusal.result is AckResult.OUT_OF_ORDER
    assert "another graph" in refusal.sentence
    assert log.check(make_chunk(0, session_id="mine.1")) is None
    assert log.check(make_chunk(0, session_id="by hand")) is None


def test_messages_of_another_graph_are_not_recorded_and_the_first_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    messages = ForeignMessages("mine", said.append)

    def applied(episode_id: str, session_id: str) -> bytes:
        action = make_action(make_episode(episode_id=episode_id), 0, session_id)
        return serialize(build.build_applied_action(BUILDER, action))

    def foreign(data: bytes) -> bool:
        return messages.holds(topics.APPLIED_ACTION, "physgen_msgs/msg/AppliedAction", data)

    assert not foreign(applied("mine.e", "mine.s"))
    assert not foreign(applied("", ""))
    assert foreign(applied("other.e", ""))
    assert foreign(applied("mine.e", "other.s"))
    assert not foreign(b"no message")
    assert len(said) == 1 and "another graph" in said[0]
    assert messages.count == 2
