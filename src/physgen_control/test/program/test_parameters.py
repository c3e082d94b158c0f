# SPDX-License-Identifier: Apache-2.0
"""A configuration dataclass becomes checked ROS parameters; bad values end in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from rclpy.parameter import Parameter

from physgen_control.nodes.parameters import ParameterError, declare_from, field_table
from physgen_control.program.parameter_field import parameter


class Pace(Enum):
    LOCKSTEP = "lockstep"
    REALTIME = "realtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    rate: float = parameter(20.0, description="Control rate", unit="Hz", ge=1.0, le=100.0)
    depth: int = parameter(5, description="Queue", ge=1)
    name: str = parameter("", description="A name")
    mode: str = parameter("sync", description="Mode", choices=("sync", "pipelined"))
    pace: Pace = parameter(Pace.LOCKSTEP, description="Pace")  # noqa: RUF009 - a field, as the others
    live: bool = parameter(True, description="Live")
    limits: tuple[float, ...] = parameter((1.0, 2.0), description="Limits", unit="m", ge=0.0)

    def __post_init__(self) -> None:
        if self.name == "forbidden":
            raise ValueError("The name is forbidden.")


@pytest.fixture
def declare() -> Iterator[Callable[..., Any]]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=41)
    nodes = []

    def run(**overrides: Any) -> Any:
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        node = rclpy.create_node("probe", context=context, parameter_overrides=values, enable_rosout=False)
        nodes.append(node)
        return declare_from(node, Config), node

    yield run
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_defaults_and_overrides(declare: Callable[..., Any]) -> None:
    assert declare()[0] == Config()
    config, node = declare(rate=30, depth=2, name="arm", pace="realtime", limits=[1, 2, 3], live=False)
    assert config == Config(
        rate=30.0, depth=2, name="arm", pace=Pace.REALTIME, limits=(1.0, 2.0, 3.0), live=False
    )
    assert isinstance(config.rate, float)
    described = node.describe_parameter("rate")
    assert described.description == "Control rate [Hz]"
    assert described.read_only
    assert described.floating_point_range[0].to_value == 100.0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"rate": 0.5}, r"'rate' \(Control rate \[Hz\]\) is out of range, allowed is 1 .. 100"),
        ({"rate": 500}, "allowed is 1 .. 100"),
        ({"rate": float("nan")}, "allowed is 1 .. 100"),
        ({"rate": "fast"}, "'rate' must be a number, got 'fast'"),
        ({"depth": 0}, "allowed is >= 1"),
        ({"depth": 1.5}, "must be an integer"),
        ({"name": 5}, "quote it"),
        ({"live": 1}, "true or false"),
        ({"mode": "other"}, "one of sync, pipelined"),
        ({"pace": "slow"}, "one of lockstep, realtime"),
        ({"limits": [1.0, -1.0]}, "-1.0, allowed is >= 0"),
        ({"limits": 3.0}, "must be a list"),
        ({"name": "forbidden"}, "The name is forbidden"),
    ],
)
def test_a_bad_value_is_one_sentence(
    declare: Callable[..., Any], overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        declare(**overrides)


def test_the_table_lists_every_field() -> None:
    table = field_table(Config)
    assert "| `rate` | `20.0` | Hz | 1 .. 100 | Control rate |" in table
    assert table.count("\n") == 9
