# SPDX-License-Identifier: Apache-2.0
"""One row of the hazard matrix: what is injected, who must notice it, what must follow, and within which time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FAKE, MANISKILL, LEARNED = "fake", "maniskill", "learned"
GRAPHS = (FAKE, MANISKILL, LEARNED)
"""The scripted expert on a fake Franka, the same on ManiSkill, and the learned policy on ManiSkill."""


class RowFailedError(Exception):
    """What a row requires did not happen; the text says what was seen instead."""


class NotPossibleError(Exception):
    """The hazard cannot be made on this machine; the text says why. Such a row is never passed."""


def must(condition: Any, sentence: str) -> None:
    """Let the row go on only if the condition holds.

    Raises:
        RowFailedError: It does not; with the sentence.
    """
    if not condition:
        raise RowFailedError(sentence)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one injection showed, in seconds of steady time since the injection."""

    detection_s: float | None = None
    """Until a message named the hazard; None: nothing has to."""
    rest_s: float | None = None
    """Until every joint was at rest; None: the arm may go on."""
    note: str = ""
    """A sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A hazard and its injection."""

    number: int
    name: str
    hazard: str
    detector: str
    reaction: str
    detection_s: float | None
    """Largest time [s] until it is noticed; None: nothing has to."""
    rest_s: float | None
    """Largest time [s] until rest; None: the arm may go on."""
    graphs: tuple[str, ...]
    """On which graphs of GRAPHS it can be made."""
    inject: Callable[[Any], Measured]
    """Makes the hazard on a running graph (chaos.nodes.rig.Rig) whose arm is armed and moves."""
    prepared: bool = True
    """False for a row that brings the arm into its own starting state."""
    may_refuse: bool = False
    """The arm's driver may refuse a trajectory during this row; in any other row that is a failure."""
    repeats: int | None = None
    """How often it is injected; None: as often as the command says."""


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
    """Return a Row from its columns in the order of the tables (nodes/rows_*.py); times: of detection and rest [s]."""
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
        KeyError: With the word that names no row of this graph.
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
