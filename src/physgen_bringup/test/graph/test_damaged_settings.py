# SPDX-License-Identifier: Apache-2.0
"""Damaged calibrations, parameter files, ablations and results: values or a UserError, whatever the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from evaluations import evaluation_of
from file_mutants import check_reader, damaged_copy

from physgen_bringup.evaluation.ablation import parse_ablation
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.calibration import read_calibration
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.paths import config_file
from physgen_bringup.results import results
from physgen_control.errors import UserError
from physgen_control.program.plain_values import read_yaml


def read_parameters(path: Path) -> None:
    arguments = check_arguments(parse_arguments(["sim:=fake", "policy:=expert"]))
    node = build_graph(arguments).node("controller_node")
    controller_config(replace(node, override_files=(path,)))


def read_ablation(path: Path) -> None:
    parse_ablation(read_yaml(path), str(path))


def read_results(path: Path) -> None:
    results.markdown(results.read(path))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("settings")
    return {
        "calibration": config_file("camera_extrinsics.yaml"),
        "parameters": config_file("controller_sim.yaml"),
        "ablation": config_file("ablation_pushcube.yaml"),
        "results": evaluation_of([True, False, True], crashed=(1,)).write(folder),
    }


CASES: list[tuple[str, Callable[[Path], object]]] = [
    ("calibration", read_calibration),
    ("parameters", read_parameters),
    ("ablation", read_ablation),
    ("results", read_results),
]


def check(
    good: dict[str, Path], kind: str, read: Callable[[Path], object], folder: Path, numbers: range
) -> None:
    source = good[kind]
    read(source)

    def mutant(random: Random) -> Path:
        return damaged_copy(source, folder / f"mutant{source.suffix}", random)

    check_reader(numbers, mutant, read)


@pytest.mark.parametrize(("kind", "read"), CASES)
def test_some_damaged_settings(good, kind, read, tmp_path) -> None:
    check(good, kind, read, tmp_path, range(40))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("ablation", "1: 2\nbudget: 3\n? [a]\n: 4\n", "unknown keys"),
        (
            "parameters",
            f"controller_node: {{ros__parameters: {{max_force: 1{'0' * 400}}}}}\n",
            "beyond every number",
        ),
        ("parameters", "controller_node:\n  a: 1\ncontroller_node:\n  a: 2\n", "duplicate key"),
    ],
)
def test_what_random_damage_found(kind: str, text: str, expected: str, tmp_path: Path) -> None:
    """Keys that are no texts, an integer that is no number, a key twice: one sentence each."""
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=expected) as caught:
        dict(CASES)[kind](path)
    assert "\n\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "read"), CASES)
def test_many_damaged_settings(good, kind, read, tmp_path) -> None:
    check(good, kind, read, tmp_path, range(1000, 1500))
