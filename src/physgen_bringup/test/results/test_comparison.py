# SPDX-License-Identifier: Apache-2.0
"""The paired test: exact where it says so, and an interval that covers what it promises."""

import json
import math
from itertools import product

import pytest
from evaluations import evaluation_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from physgen_bringup.commands import evaluate
from physgen_bringup.results.comparison import (
    PairedCounts,
    compare,
    difference_interval,
    mcnemar_p,
    numbers,
    pair,
    trials_that_tell,
    verdict,
)
from physgen_bringup.results.results import ResultsError

counts = st.builds(
    PairedCounts,
    both=st.integers(0, 60),
    only_a=st.integers(0, 60),
    only_b=st.integers(0, 60),
    neither=st.integers(0, 60),
).filter(lambda c: c.n > 0)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_p_value_is_that_of_the_exact_binomial_test(only_a, only_b):
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, abs=1e-12)


@given(counts)
def test_the_interval_holds_the_difference_and_mirrors_when_a_and_b_are_swapped(c):
    low, high = difference_interval(c)
    assert -1.0 <= low <= c.difference + 1e-12
    assert c.difference - 1e-12 <= high <= 1.0
    swapped = PairedCounts(both=c.both, only_a=c.only_b, only_b=c.only_a, neither=c.neither)
    assert difference_interval(swapped) == pytest.approx((-high, -low), abs=1e-12)


@given(counts)
def test_more_of_the_same_narrows_the_interval(c):
    ten = PairedCounts(both=10 * c.both, only_a=10 * c.only_a, only_b=10 * c.only_b, neither=10 * c.neither)
    (low, high), (low10, high10) = difference_interval(c), difference_interval(ten)
    assert high10 - low10 < high - low


@pytest.mark.parametrize(
    "rates", [(0.6, 0.1, 0.2, 0.1), (0.85, 0.05, 0.1, 0.0), (0.25, 0.25, 0.25, 0.25), (0.1, 0.02, 0.3, 0.58)]
)
def test_the_interval_covers_the_truth_as_often_as_it_says(rates):
    """Summed over every possible outcome of 20 trials: no simulation, no chance."""
    n, truth, covered = 20, rates[2] - rates[1], 0.0
    distribution = multinomial(n, rates)
    for both, only_a, only_b in product(range(n + 1), repeat=3):
        neither = n - both - only_a - only_b
        if neither < 0:
            continue
        table = PairedCounts(both=both, only_a=only_a, only_b=only_b, neither=neither)
        low, high = difference_interval(table)
        if low <= truth <= high:
            covered += distribution.pmf([both, only_a, only_b, neither])
    assert 0.93 <= covered <= 1.0


def test_trials_are_matched_by_seed_and_crashes_are_left_out():
    a = evaluation_of([True, True, False, False, True], crashed={4})
    b = evaluation_of([True, False, True, False], first=0)
    table, lists = pair(a, b)
    assert table == PairedCounts(both=1, only_a=1, only_b=1, neither=1)
    assert [trial.seed for trial in lists["only_in_a"]] == [4]
    late = evaluation_of([True, True, True, True], first=2)
    table, lists = pair(a, late)
    assert table.n == 2
    assert [trial.seed for trial in lists["crashed"]] == [4]
    assert [trial.seed for trial in lists["only_in_b"]] == [5]


def test_different_rules_are_not_compared():
    with pytest.raises(ResultsError, match="max_steps 100, but B has 50"):
        pair(evaluation_of([True]), evaluation_of([True], max_steps=50))
    with pytest.raises(ResultsError, match="in common"):
        pair(evaluation_of([True]), evaluation_of([True], first=7))


def test_several_tasks_are_pooled():
    ours = [evaluation_of([True] * 8, task=task) for task in ("one", "two")]
    theirs = [evaluation_of([False] * 4 + [True] * 4, task=task) for task in ("one", "two")]
    values = compare(list(zip(ours, theirs, strict=True)))
    assert values["total"]["only_a"] == 8
    assert values["total"]["mcnemar_exact_p"] == pytest.approx(2 / 2**8)
    assert math.isclose(values["tasks"][0]["difference"], -0.5)


def test_the_command_prints_the_table_and_writes_the_numbers(tmp_path, capsys):
    evaluation_of([True] * 9 + [False]).write(tmp_path / "a")
    evaluation_of([False] * 9 + [True]).write(tmp_path / "b")
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json", str(tmp_path / "c.json")]
    assert evaluate.main(words) == 0
    text = capsys.readouterr().out
    assert "| FakePush-v0 | 10 | 90.0 % | 10.0 % |" in text
    assert "A is better at the 5 % level: B - A is from" in text
    assert "a better: 0, 1, 2" in text
    assert json.loads((tmp_path / "c.json").read_text())["total"]["only_b"] == 1


@given(counts)
def test_the_sentence_never_contradicts_the_interval(of: PairedCounts) -> None:
    """Never "no difference" beside an interval without 0; where nothing is shown, how many trials would tell."""
    total = numbers(of)
    sentence = verdict(total)
    low, high = total["difference_95"]
    leaves_zero_out = low > 0 or high < 0
    if "No difference is shown" in sentence:
        assert not leaves_zero_out
    if "is better at the 5 % level" in sentence:
        assert leaves_zero_out
    else:
        assert "paired trials would show it" in sentence


def test_trials_that_tell_are_those_of_the_literature() -> None:
    """Connor 1987: 234 pairs where 30 % of them differ and the rates by 10 points; more for less."""
    assert trials_that_tell(98, 200, 998, 0.1) == 234
    assert trials_that_tell(0, 0, 50, 0.05) > trials_that_tell(0, 0, 50, 0.1) > 30
