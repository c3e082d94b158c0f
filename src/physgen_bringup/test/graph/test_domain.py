# SPDX-License-Identifier: Apache-2.0
"""Every graph has a domain to itself, or does not start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_bringup.graph.domain import (
    LAST_DOMAIN,
    PrivateDomain,
    chosen_domain,
    join_running_graph,
    running_graphs,
)
from physgen_control.errors import UserError


@given(st.integers(0, LAST_DOMAIN))
def test_a_chosen_domain_is_used(domain: int) -> None:
    assert chosen_domain({"ROS_DOMAIN_ID": str(domain)}) == domain


@given(
    st.one_of(st.integers(max_value=-1), st.integers(LAST_DOMAIN + 1), st.text(min_size=1))
    .map(str)
    .filter(str.strip)
)
def test_what_is_no_domain_is_a_sentence(text: str) -> None:
    if text.strip().isascii() and text.strip().isdigit() and int(text) <= LAST_DOMAIN:
        return
    with pytest.raises(UserError, match="ROS_DOMAIN_ID must be an integer from 0 to 232"):
        chosen_domain({"ROS_DOMAIN_ID": text})


def test_no_domain_is_no_choice() -> None:
    assert chosen_domain({}) is None
    assert chosen_domain({"ROS_DOMAIN_ID": " "}) is None


def test_a_command_with_a_bad_domain_ends_with_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "physgen_bringup.cli", "view", "nothing"],
        env={**os.environ, "ROS_DOMAIN_ID": "abc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("physgen view: ROS_DOMAIN_ID must be")
    assert len(done.stderr.splitlines()) == 1


def test_a_program_beside_a_graph_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert running_graphs() == []
    assert join_running_graph({}) is None
    with PrivateDomain("first") as first:
        assert join_running_graph({}) == first
        assert join_running_graph({"ROS_DOMAIN_ID": "3"}) is None
        with PrivateDomain("second") as second:
            assert first != second
            assert {(graph.domain, graph.output_dir) for graph in running_graphs()} == {
                (first, "first"),
                (second, "second"),
            }
            with pytest.raises(UserError, match="several graphs run"):
                join_running_graph({})
    assert running_graphs() == []
