# SPDX-License-Identifier: Apache-2.0
"""Splitting an evaluation over processes or machines, and putting its parts together again."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from physgen_bringup.results.results import FILE_NAME, Evaluation, ResultsError, read
from physgen_bringup.results.suite_report import write_suite
from physgen_control.errors import UserError

SHARDS = "shards"


def parse_shard(text: str) -> tuple[int, int]:
    """Return `2/4` as (2, 4): the second of four.

    Raises:
        UserError: Anything else.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--shard must be I/N with I from 1 to N, such as 2/4, got {text!r}")
    return int(found[1]), int(found[2])


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Return where the results of one shard lie: OUT itself when there is only one."""
    first, count = shard
    return out if count == 1 else out / SHARDS / f"{first}-of-{count}"


def merge_shards(sources: list[Path], out: Path) -> list[Evaluation]:
    """Put the results of shards together, task by task, and write them to `out`.

    Args:
        sources: Folders of shards, or folders that hold `shards/`.
        out: Where the whole goes.

    Raises:
        UserError: Nothing to merge, different protocols, or a trial that two shards ran.
    """
    parts = [part for source in sources for part in _shards_of(source)]
    by_task: dict[Path, list[Path]] = {}
    for part in parts:
        for path in sorted(part.rglob(FILE_NAME)):
            folder = path.parent.relative_to(part)
            is_suite = folder == Path() and any(path.parent.glob(f"*/{FILE_NAME}"))
            if not is_suite and SHARDS not in folder.parts:
                by_task.setdefault(folder, []).append(path)
    if not by_task:
        raise UserError(f"there are no results of shards in {', '.join(map(str, sources))}")
    merged = {folder: _merge(paths) for folder, paths in sorted(by_task.items())}
    for folder, evaluation in merged.items():
        evaluation.write(out / folder)
    if len(merged) > 1:
        write_suite(out, list(merged.values()), [out / folder for folder in merged])
    return list(merged.values())


def _shards_of(source: Path) -> list[Path]:
    if not source.is_dir():
        raise UserError(f"{source} is not a folder")
    below = sorted((source / SHARDS).glob("*-of-*"))
    return below or [source]


def _merge(paths: list[Path]) -> Evaluation:
    whole = read(paths[0])
    owners = {episode.trial: paths[0] for episode in whole.episodes}
    for path in paths[1:]:
        part = read(path)
        _check_same_rules(whole, part, paths[0], path)
        for episode in part.episodes:
            if episode.trial in owners:
                raise ResultsError(
                    f"seed {episode.seed} was run by {owners[episode.trial]} and by {path}: these are not shards of "
                    "one evaluation"
                )
            owners[episode.trial] = path
            whole.add(episode)
        whole.latencies.extend(part.latencies)
    return whole


def _check_same_rules(whole: Evaluation, part: Evaluation, ours: Path, theirs: Path) -> None:
    old, new = asdict(whole.protocol), asdict(part.protocol)
    # The same weights may lie elsewhere on another machine.
    different = [key for key in new if old[key] != new[key] and key != "checkpoint_path"]
    if different:
        key = different[0]
        raise ResultsError(
            f"{ours} has {key} {old[key]!r}, but {theirs} has {new[key]!r}: they cannot be merged"
        )
