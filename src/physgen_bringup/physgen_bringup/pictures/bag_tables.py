# SPDX-License-Identifier: Apache-2.0
"""What is in bags, for people: which can be read, their facts as tables, their pictures for a film."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from physgen_bringup.pictures.pictures import Recording
from physgen_bringup.pictures.recordings import predicted_frames
from physgen_control.bags.errors import BagError
from physgen_control.bags.find import search_bags
from physgen_control.bags.images import ImageStream
from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.bags.summary import BagSummary, read_summary
from physgen_control.types import ACTION_DIM, UInt8Image

DEFAULT_RATE_HZ = 20.0


class LazyImages(Sequence[UInt8Image]):
    """The images of a stream, decoded one at a time: a long episode does not fit into memory as pixels."""

    def __init__(self, stream: ImageStream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        return len(self._stream)

    @overload
    def __getitem__(self, index: int) -> UInt8Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[UInt8Image]: ...
    def __getitem__(self, index: int | slice) -> UInt8Image | Sequence[UInt8Image]:
        if isinstance(index, slice):
            return [self._stream.rgb(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._stream.rgb(index % len(self))


def recording_of(episode: EpisodeRecording) -> Recording:
    """Return what the video and the plots need of a bag.

    Raises:
        BagError: Its actions cannot be drawn, or its imagined frames cannot be read.
    """
    for action in episode.applied:
        if action.applied.size != ACTION_DIM or not np.isfinite([action.raw, action.applied]).all():
            raise BagError(
                f"{episode.path} has, in control step {action.step}, an action that is not of {ACTION_DIM} finite "
                f"numbers: {action.applied.tolist()}"
            )
    periods = np.diff(episode.fixed.stamps_ns)
    every = episode.picture_every
    rate_hz = float(1e9 * every / np.median(periods)) if len(periods) else DEFAULT_RATE_HZ
    return Recording(
        seed=episode.episode.seed,
        task=episode.episode.task,
        outcome=episode.outcome.name.lower(),
        rate_hz=rate_hz,
        fixed=LazyImages(episode.fixed),
        wrist=LazyImages(episode.wrist),
        predicted=predicted_frames(episode, episode.fixed.stamps_ns, every),
        actions=episode.applied,
        tcp=episode.poses.positions,
        picture_every=every,
    )


def topic_table(bag: BagSummary) -> str:
    """Return the topics of a bag with their counts and mean rates."""
    seconds = bag.duration_ns / 1e9
    width = max([len(topic) for topic in bag.counts] or [5])
    lines = [f"{'topic':<{width}}  messages  rate [Hz]"]
    for topic, count in sorted(bag.counts.items()):
        rate = f"{count / seconds:9.1f}" if count > 1 and seconds > 0 else f"{'-':>9}"
        lines.append(f"{topic:<{width}}  {count:8d}  {rate}")
    return "\n".join(lines)


def bag_heading(bag: BagSummary) -> str:
    """Return the facts of an episode in a few lines."""
    custom = bag.custom_data
    lines = [
        f"bag          {bag.path}",
        f"episode      {bag.episode_id}",
        f"task, seed   {bag.task}, {bag.seed}",
        f"instruction  {bag.instruction}",
        f"robot        {bag.robot} ({custom.get('source', '')})",
        f"outcome      {bag.outcome} after {bag.steps} steps, {bag.duration_ns / 1e9:.2f} s",
    ]
    if custom.get("detail"):
        lines.append(f"detail       {custom['detail']}")
    return "\n".join(lines)


def audit_text(bag: BagSummary) -> str:
    """Return what the recorder found at the end of the episode; "" for a bag without an audit."""
    custom = bag.custom_data
    lines = [f"repaired     from {custom['repaired_from']}"] if custom.get("repaired_from") else []
    try:
        audit = json.loads(custom.get("audit", ""))
        warnings = [str(warning) for warning in audit["warnings"]]
    except (ValueError, KeyError, TypeError):
        return "\n".join(lines)
    lines.append("audit        complete" if not warnings else f"audit        {len(warnings)} warnings")
    lines += [f"  {warning}" for warning in warnings]
    return "\n".join(lines)


def run_table(bags: Sequence[BagSummary]) -> str:
    """Return one line per bag and the number of successes."""
    lines = [f"{'task':<24} {'seed':>6} {'outcome':<10} {'steps':>5} {'time [s]':>8}  bag"]
    for bag in bags:
        seconds = bag.duration_ns / 1e9
        lines.append(
            f"{bag.task:<24} {bag.seed:>6} {bag.outcome:<10} {bag.steps:>5} {seconds:>8.2f}  {bag.path.name}"
        )
    successes = sum(bag.outcome == "SUCCESS" for bag in bags)
    lines.append(f"{successes} of {len(bags)} episodes succeeded.")
    return "\n".join(lines)


def readable_bags(path: Path) -> tuple[list[BagSummary], list[str]]:
    """Return the bags at or below a path that can be read, and one sentence for each of the others."""
    found = search_bags(path)
    bags = []
    left_out = [f"{bag} is not finished: recover it with `physgen repair {bag}`." for bag in found.unfinished]
    for bag in found.finished:
        try:
            bags.append(read_summary(bag))
        except BagError as error:
            left_out.append(str(error))
    return bags, left_out


def drawable(bags: Sequence[BagSummary], limit: int, say: Callable[[str], None]) -> Iterator[Recording]:
    """Yield the first `limit` recordings that can be read, say why others cannot; BagError if none can."""
    shown, last = 0, None
    for bag in bags:
        try:
            recording = recording_of(read_episode(bag.path))
        except BagError as error:
            say(f"left out of the video: {error}")
            last = error
            continue
        yield recording
        shown += 1
        if shown == limit:
            return
    if last is not None and not shown:
        raise last
