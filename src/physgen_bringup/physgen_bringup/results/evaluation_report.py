# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation, and of the demo: what was measured, every episode, the films."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from physgen_bringup.results.html_page import (
    FILE_NAME,
    MediaFile,
    Outcome,
    Report,
    Row,
    Section,
    media_section,
    write_page,
)
from physgen_bringup.results.results import EpisodeResult, Evaluation, percentiles, summarize, trial_text


def write_evaluation_report(
    out: Path,
    evaluations: Sequence[Evaluation],
    films: Callable[[int, EpisodeResult], Path | None],
    pictures: Sequence[MediaFile] = (),
) -> Path:
    """Write OUT/report.html.

    Args:
        out: Folder of the evaluation.
        evaluations: one per task.
        films: the film of an episode of the task with that index, or None.
        pictures: other films and plots with their captions.
    """
    rates = [_summary_row(evaluation) for evaluation in evaluations]
    sections = [
        Section(
            title="Success",
            columns=("task", "policy", "success", "rate", "95 % interval", "crashes", "stale steps"),
            rows=tuple(rates),
        )
    ]
    if pictures:
        sections.append(media_section("Pictures", pictures))
    filmed = [
        MediaFile(film, f"{evaluation.protocol.task}, {_caption(episode)}", _outcome(episode))
        for index, evaluation in enumerate(evaluations)
        for episode in evaluation.episodes
        if (film := films(index, episode)) is not None
    ]
    if filmed:
        sections.append(media_section("Films", filmed))
    sections += [_episodes(evaluation) for evaluation in evaluations]
    sections.append(_latencies(evaluations))
    sections += [_rules(evaluation) for evaluation in evaluations]
    first = evaluations[0].protocol
    successes = sum(summarize(e.episodes)["successes"] for e in evaluations)
    count = sum(summarize(e.episodes)["n"] for e in evaluations)
    title = f"{first.suite}: {', '.join(e.protocol.task for e in evaluations)}"
    lead = (
        f"{successes} of {count} episodes succeeded; policy {first.policy}, {first.transport}, {first.pace}."
    )
    return write_page(Report(title, lead, tuple(sections)), out / FILE_NAME)


def _caption(episode: EpisodeResult) -> str:
    return f"seed {trial_text(episode.trial)}: {_outcome(episode)}, {episode.steps} steps"


def _outcome(episode: EpisodeResult) -> Outcome:
    return "success" if episode.success else "failure"


def _summary_row(evaluation: Evaluation) -> Row:
    values, protocol = summarize(evaluation.episodes), evaluation.protocol
    low, high = values["wilson_95"]
    rate = f"{100 * values['success_rate']:.1f} %" if values["n"] else "-"
    return Row(
        (
            protocol.task,
            protocol.policy,
            f"{values['successes']} of {values['n']}",
            rate,
            f"{100 * low:.1f} to {100 * high:.1f} %",
            values["crashes"],
            f"{values['stale_steps']} of {values['steps']}",
        )
    )


def _episodes(evaluation: Evaluation) -> Section:
    rows = [
        Row(
            (
                trial_text(e.trial),
                "crash" if e.crashed else _outcome(e),
                e.steps,
                e.stale_steps,
                e.limited_steps,
                round(e.wall_s, 2),
                e.error,
            ),
            _outcome(e),
        )
        for e in evaluation.episodes
    ]
    columns = ("seed", "result", "steps", "stale", "limited", "wall s", "")
    return Section(title=f"Episodes of {evaluation.protocol.task}", columns=columns, rows=tuple(rows))


def _latencies(evaluations: Sequence[Evaluation]) -> Section:
    rows = []
    for name in evaluations[0].latencies.samples():
        numbers = percentiles([v for e in evaluations for v in e.latencies.samples()[name]])
        if numbers["count"]:
            shown = [round(float(numbers[key] or 0.0), 1) for key in ("p50", "p95", "p99")]
            rows.append(Row((name.replace("_", " "), *shown)))
    return Section(title="Latency [ms]", columns=("from, to", "p50", "p95", "p99"), rows=tuple(rows))


def _rules(evaluation: Evaluation) -> Section:
    rules = {key: value for key, value in asdict(evaluation.protocol).items() if value not in ("", 0)}
    text = json.dumps({"rules": rules, **evaluation.environment}, indent=1)
    return Section(title=f"Rules and environment of {evaluation.protocol.task}", code=text)
