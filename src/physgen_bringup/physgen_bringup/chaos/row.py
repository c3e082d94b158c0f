# SPDX-License-Identifier: Apache-2.0
"""One row of the hazard matrix: what is injected, who must notice it, what must follow, and within which time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FAKE, MANISKILL, LEARNED = "fake", "maniskill", "learned"
GRAPHS = (FAKE, MANISKILL, LEARNED)


class RowFailedError(Exception):
    """What a row requires did not happen; the text says what was seen instead."""


class NotPossibleError(Exception):
    """The hazard cannot be made on this machine; the text says why. Such a row is never passed."""


def must(condition: Any, sentence: str) -> None:
    """Fail the row with a sentence unless the condition holds."""
    if not condition:
        raise RowFailedError(sentence)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one injection showed, in seconds of steady time since the injection.

    detection_s: until a message named the hazard (None: nothing has to). rest_s: until every joint was at rest (None:
    the arm may go on). note: a sentence for people.
    """

    detection_s: float | None = None
    rest_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A hazard and its injection; `inject` takes the rig with an arm that is armed and moves.

    detection_s, rest_s: the largest times [s] that pass. prepared: False for rows that bring the arm into their own
    starting state. may_refuse: the arm's driver may refuse trajectories meanwhile, which else nobody gives it cause to.
    """

    number: int
    name: str
    hazard: str
    detector: str
    reaction: str
    detection_s: float | None
    rest_s: float | None
    graphs: tuple[str, ...]
    inject: Callable[[Any], Measured]
    prepared: bool = True
    may_refuse: bool = False
    repeats: int | None = None


def make_row(
    number: int,
    name: str,
    hazard: str,
    detector: str,
    reaction: str,
    times: tuple[float | None, float | None],
    inject: Callable[[Any], Measured],
    *,
    graphs: tuple[str, ...],
    prepared: bool = True,
    may_refuse: bool = False,
    repeats: int | None = None,
) -> Row:
    """A Row from its columns in the order of every table; times: the bounds of detection and rest [s]."""
    return Row(
        number=number,
        name=name,
        hazard=hazard,
        detector=detector,
        reaction=reaction,
        detection_s=times[0],
        rest_s=times[1],
        inject=inject,
        graphs=graphs,
        prepared=prepared,
        may_refuse=may_refuse,
        repeats=repeats,
    )


def find_rows(rows: tuple[Row, ...], graph: str, wanted: list[str]) -> list[Row]:
    """Return the rows of a graph, or those of them that are wanted by number, name or range of numbers (40-45).

    Raises:
        KeyError: with the word that names no row of this graph.
    """
    mine = [row for row in rows if graph in row.graphs]
    if not wanted:
        return mine
    found = []
    for word in wanted:
        first, _, last = word.partition("-")
        if first.isdigit() and last.isdigit():
            matching = [row for row in mine if int(first) <= row.number <= int(last)]
        else:
            matching = [row for row in mine if word in (str(row.number), row.name)]
        if not matching:
            raise KeyError(word)
        found += matching
    return found
