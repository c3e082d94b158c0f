# SPDX-License-Identifier: Apache-2.0
"""Which of the bags that a user gave are to be converted: each once, of one robot, the rest named with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen_control.bags.errors import BagError
from physgen_control.bags.find import search_bags
from physgen_control.bags.summary import read_summary
from physgen_policy.data.dataset import DatasetError


@dataclass(frozen=True, slots=True)
class BagChoice:
    """The bags to convert."""

    bags: tuple[Path, ...]
    """Finished bags, each once."""
    left_out: tuple[str, ...]
    """One sentence per bag that cannot be read."""
    robot: str
    """Of all bags."""


def choose_bags(folders: Sequence[Path]) -> BagChoice:
    """Return the bags at or below some folders.

    Raises:
        DatasetError: There is none, or they are of several robots.
    """
    finished, unfinished = _each_once(folders)
    if not finished and not unfinished:
        raise DatasetError(
            f"no bags in {', '.join(str(f) for f in folders)}; record some with `physgen collect`"
        )
    left_out = [f"{bag} is not finished: recover it with `physgen repair {bag}`" for bag in unfinished]
    bags: list[Path] = []
    robots: dict[str, Path] = {}
    for bag in finished:
        try:
            robot = read_summary(bag).robot
        except BagError as error:
            left_out.append(str(error))
            continue
        if not robot:
            left_out.append(
                f"{bag} does not say which robot it shows: neither its metadata nor an EpisodeInfo"
            )
            continue
        bags.append(bag)
        robots.setdefault(robot, bag)
    if len(robots) > 1:
        which = ", ".join(f"{robot} (as in {bag})" for robot, bag in robots.items())
        raise DatasetError(
            f"the bags are of several robots, {which}; convert those of each robot by themselves"
        )
    return BagChoice(tuple(bags), tuple(left_out), next(iter(robots), ""))


def _each_once(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return finished and unfinished bags in the order given, one path for each.

    Raises:
        DatasetError: There is nothing at a path, or a file of another kind.
    """
    finished: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for folder in folders:
        try:
            found = search_bags(folder)
        except BagError as error:
            raise DatasetError(str(error)) from error
        for bag in found.finished:
            finished.setdefault(bag.resolve(), bag)
        for bag in found.unfinished:
            unfinished.setdefault(bag.resolve(), bag)
    return list(finished.values()), list(unfinished.values())
