# SPDX-License-Identifier: Apache-2.0
"""Are two policies different? A paired test on the trials that both ran.

Paired, because the same seed gives both the same start: what a start makes hard for both says nothing about their
difference. Trials that crashed in either run are left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from physgen_bringup.results.results import Z_95, Evaluation, ResultsError, Trial, trial_text, wilson_interval

LEVEL = 0.05
Z_POWER = 0.8416
"""Standard normal quantile of a power of 80 %."""
SMALLEST_OF_INTEREST = 0.05
"""The difference of rates that is asked for where none was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCounts:
    """The fourfold table of one set of trials, by who succeeded."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        """Number of trials."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Success rate of B minus that of A."""
        return (self.only_b - self.only_a) / self.n

    def __add__(self, other: PairedCounts) -> PairedCounts:
        return PairedCounts(**{key: value + getattr(other, key) for key, value in asdict(self).items()})


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Between equals, the trials that differ are tosses of a fair coin.
    """
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, 2 * tail / 2**n)


def difference_interval(counts: PairedCounts, z: float = Z_95) -> tuple[float, float]:
    """Return the score interval of the difference of paired rates, B minus A.

    Newcombe 1998, Statist. Med. 17, 2635, method 10. It combines both Wilson intervals with the correlation of the
    pairs,
    and stays sensible at 0 and 100 %.
    """
    a, b, c, d = counts.both, counts.only_b, counts.only_a, counts.neither
    n = counts.n
    rate_b, rate_a = (a + b) / n, (a + c) / n
    low_b, high_b = wilson_interval(a + b, n, z)
    low_a, high_a = wilson_interval(a + c, n, z)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    phi = 0.0
    if margins:
        product = a * d - b * c
        # Half a trial less when it is positive: otherwise the interval would be too narrow for small n.
        phi = (max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins)
    down_b, up_a = rate_b - low_b, high_a - rate_a
    up_b, down_a = high_b - rate_b, rate_a - low_a
    below = math.sqrt(max(0.0, down_b**2 - 2 * phi * down_b * up_a + up_a**2))
    above = math.sqrt(max(0.0, up_b**2 - 2 * phi * up_b * down_a + down_a**2))
    difference = rate_b - rate_a
    return max(-1.0, difference - below), min(1.0, difference + above)


def pair(a: Evaluation, b: Evaluation) -> tuple[PairedCounts, dict[str, list[Trial]]]:
    """Match two evaluations of one task by trial.

    Returns:
        The table, and the trials that differ or could not be used, by the reason.

    Raises:
        ResultsError: Other tasks or step limits, or no trial in common.
    """
    for key in ("suite", "task", "max_steps", "success_rule"):
        ours, theirs = getattr(a.protocol, key), getattr(b.protocol, key)
        if ours != theirs:
            raise ResultsError(f"A has {key} {ours!r}, but B has {theirs!r}: they cannot be compared")
    of_a, of_b = ({e.trial: e for e in evaluation.episodes} for evaluation in (a, b))
    common = sorted(of_a.keys() & of_b.keys())
    lists: dict[str, list[Trial]] = {
        "crashed": [t for t in common if of_a[t].crashed or of_b[t].crashed],
        "only_in_a": sorted(of_a.keys() - of_b.keys()),
        "only_in_b": sorted(of_b.keys() - of_a.keys()),
    }
    used = [t for t in common if t not in set(lists["crashed"])]
    if not used:
        raise ResultsError(
            f"A and B have no finished trial of {a.protocol.task} in common: nothing can be compared"
        )
    pairs = {t: (of_a[t].success, of_b[t].success) for t in used}
    lists["a_better"] = [t for t, outcome in pairs.items() if outcome == (True, False)]
    lists["b_better"] = [t for t, outcome in pairs.items() if outcome == (False, True)]
    outcomes = list(pairs.values())
    counts = PairedCounts(
        both=outcomes.count((True, True)),
        only_a=len(lists["a_better"]),
        only_b=len(lists["b_better"]),
        neither=outcomes.count((False, False)),
    )
    return counts, lists


def compare(pairs: Sequence[tuple[Evaluation, Evaluation]]) -> dict[str, Any]:
    """Compare task by task and, for several tasks, over all trials; return plain values."""
    rows, total = [], PairedCounts(both=0, only_a=0, only_b=0, neither=0)
    for a, b in pairs:
        counts, lists = pair(a, b)
        total += counts
        words = {name: [trial_text(trial) for trial in trials] for name, trials in lists.items()}
        rows.append({"task": a.protocol.task, **numbers(counts), "trials": words})
    return {"format": 1, "kind": "comparison", "tasks": rows, "total": numbers(total)}


def numbers(counts: PairedCounts) -> dict[str, Any]:
    """What is told and written of one table: rates, their difference with its interval, the exact p-value."""
    low, high = difference_interval(counts)
    return {
        "n": counts.n,
        **asdict(counts),
        "rate_a": (counts.both + counts.only_a) / counts.n,
        "rate_b": (counts.both + counts.only_b) / counts.n,
        "difference": counts.difference,
        "difference_95": [low, high],
        "mcnemar_exact_p": mcnemar_p(counts.only_a, counts.only_b),
    }


def comparison_markdown(values: dict[str, Any], name_a: str, name_b: str) -> str:
    """Return the comparison as a table for people, with a sentence that says what it means."""
    lines = [
        f"# A = {name_a}, B = {name_b}",
        "",
        "| task | n | A | B | B - A (95 % interval) | only A | only B | exact McNemar p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = list(values["tasks"])
    if len(rows) > 1:
        rows.append({"task": "**all**", **values["total"]})
    for row in rows:
        low, high = row["difference_95"]
        lines.append(
            f"| {row['task']} | {row['n']} | {100 * row['rate_a']:.1f} % | {100 * row['rate_b']:.1f} % | "
            f"{100 * row['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) points | {row['only_a']} | "
            f"{row['only_b']} | {row['mcnemar_exact_p']:.3g} |"
        )
    lines += ["", verdict(values["total"])]
    for row in values["tasks"]:
        for key, words in row["trials"].items():
            if words:
                lines.append(f"{row['task']}, {key.replace('_', ' ')}: {', '.join(words)}.")
    return "\n".join(lines) + "\n"


def verdict(total: dict[str, Any]) -> str:
    """One sentence on the total, and how many trials would tell where these do not."""
    low, high = total["difference_95"]
    p, difference = total["mcnemar_exact_p"], total["difference"]
    better, worse = ("B", "A") if difference > 0 else ("A", "B")
    interval = f"from {100 * low:+.1f} to {100 * high:+.1f} points"
    leaves_zero_out = low > 0 or high < 0
    if p < LEVEL and leaves_zero_out:
        return f"{better} is better at the 5 % level: B - A is {interval}."
    if p < LEVEL or leaves_zero_out:
        sentence = (
            f"Borderline: {better} looks better than {worse}, B - A is {interval}, and the exact test gives "
            f"p = {p:.3g}; one of the two reaches the 5 % level and the other does not."
        )
    else:
        sentence = f"No difference is shown at the 5 % level: B - A may be anything {interval}."
    return f"{sentence} {_trials_sentence(total)}"


def _trials_sentence(total: dict[str, Any]) -> str:
    assumed = total["difference"] or SMALLEST_OF_INTEREST
    trials = trials_that_tell(total["only_a"], total["only_b"], total["n"], assumed)
    what = "the difference seen here" if total["difference"] else "a difference"
    return (
        f"If {what} is real ({100 * abs(assumed):.1f} points), about {trials} paired trials would show it in four of "
        f"five comparisons; these were {total['n']}."
    )


def trials_that_tell(only_a: int, only_b: int, n: int, difference: float) -> int:
    """Paired trials after which McNemar's test finds a difference of rates at the 5 % level with a power of 80 %.

    Connor 1987, Biometrics 43, 207. The share of trials that differ is that of the `n` seen here, with one more of each
    kind so that it is never 0.
    """
    share = max((only_a + only_b + 2) / (n + 2), abs(difference))
    spread = Z_95 * math.sqrt(share) + Z_POWER * math.sqrt(max(share - difference**2, 0.0))
    return math.ceil((spread / difference) ** 2)


def matching_results(a: Path, b: Path) -> list[tuple[Path, Path]]:
    """Return the result files to compare: two folders of one task each, or the tasks that both have.

    Raises:
        ResultsError: A folder without results, or no task in common.
    """
    tasks_a, tasks_b = _task_files(a), _task_files(b)
    if len(tasks_a) == 1 and len(tasks_b) == 1:
        return [(next(iter(tasks_a.values())), next(iter(tasks_b.values())))]
    names = [name for name in tasks_a if name in tasks_b]
    if not names:
        raise ResultsError(f"{a} and {b} have no task in common")
    return [(tasks_a[name], tasks_b[name]) for name in names]


def _task_files(folder: Path) -> dict[str, Path]:
    """Return results.json by the folder's name; below a folder of several tasks one for each.

    Raises:
        ResultsError: There is none.
    """
    if folder.is_file():
        return {"": folder}
    below = {path.parent.name: path for path in sorted(folder.glob("*/results.json"))}
    if below:
        return below
    path = folder / "results.json"
    if not path.is_file():
        raise ResultsError(f"{folder} holds no results.json; give the output folder of an evaluation")
    return {"": path}
