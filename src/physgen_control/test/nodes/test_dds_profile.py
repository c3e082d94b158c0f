# SPDX-License-Identifier: Apache-2.0
"""Which DDS profile a process without shared memory takes, and that it never widens who can reach it."""

from pathlib import Path

import pytest

from physgen_control.nodes.dds_profile import PROFILE_VARIABLES, RANGE, without_shared_memory

LOCAL, NETWORK = "<initialPeersList>", "<dds/>"


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    for name, text in (("fastdds", LOCAL), ("fastdds_network", NETWORK)):
        (tmp_path / f"{name}.xml").write_text(text)
        (tmp_path / f"{name}_udp.xml").write_text(text)
    (tmp_path / "own.xml").write_text(NETWORK)
    return tmp_path


def chosen(path: Path | None, **more: str) -> dict[str, str]:
    environment = dict.fromkeys(PROFILE_VARIABLES, str(path)) if path else {}
    environment |= more
    without_shared_memory(environment)
    return environment


def test_the_profile_beside_it_is_taken(profiles: Path) -> None:
    environment = chosen(profiles / "fastdds.xml", **{RANGE: "LOCALHOST"})
    assert {environment[name] for name in PROFILE_VARIABLES} == {str(profiles / "fastdds_udp.xml")}
    assert environment[RANGE] == "SYSTEM_DEFAULT"


def test_a_network_profile_does_not_widen_the_range(profiles: Path) -> None:
    for given in ("LOCALHOST", "SUBNET", "OFF"):
        environment = chosen(profiles / "fastdds_network.xml", **{RANGE: given})
        assert environment[PROFILE_VARIABLES[0]] == str(profiles / "fastdds_network_udp.xml")
        assert environment[RANGE] == given


def test_a_profile_of_ones_own_and_none_stay(profiles: Path) -> None:
    assert chosen(profiles / "own.xml")[PROFILE_VARIABLES[0]] == str(profiles / "own.xml")
    assert RANGE not in chosen(None)


@pytest.mark.parametrize("middleware", ["rmw_cyclonedds_cpp", "rmw_zenoh_cpp"])
def test_another_middleware_is_left_alone(profiles: Path, middleware: str) -> None:
    given = {RANGE: "LOCALHOST", "RMW_IMPLEMENTATION": middleware}
    before = dict.fromkeys(PROFILE_VARIABLES, str(profiles / "fastdds.xml")) | given
    assert chosen(profiles / "fastdds.xml", **given) == before
