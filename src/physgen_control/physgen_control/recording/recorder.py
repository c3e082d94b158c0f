# SPDX-License-Identifier: Apache-2.0
"""Turn a stream of raw messages into one bag per episode; ROS-free, one thread, no exception for a bad disk.

Every message goes through a ring buffer, so that whatever of the first observation arrived before the
EpisodeInfo is still there. After the terminal phase messages are held until the episode is complete or
`drain_s` is over.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.bags.errors import BagError
from physgen_control.bags.foreign_messages import ForeignMessages
from physgen_control.bags.serialize import episode_custom_data
from physgen_control.bags.typestore import typestore
from physgen_control.bags.writer import PARTIAL_SUFFIX, BagWriter
from physgen_control.messages import topics
from physgen_control.messages.read import applied_action_from_msg, episode_from_msg
from physgen_control.messages.topics import RecordedTopic
from physgen_control.recording.audit import Audit, audit_episode
from physgen_control.recording.config import RecorderConfig
from physgen_control.recording.pre_roll import PreRoll, RawMessage
from physgen_control.recording.status_board import RecorderStatus
from physgen_control.types import NS_PER_S, Episode, EpisodePhase

DISK_CHECK_NS = NS_PER_S
EPISODE_GAP_NS = NS_PER_S // 2
"""A stamp so far beyond the last observation belongs to the next episode: a reset moves the clock by 1 s or more."""
NAMES_KEPT = 8
"""Newest episodes whose bags' names are remembered."""


class EpisodeRecorder:
    """The recorder's state machine.

    Args:
        config: Parameters.
        recorded: Topics to expect.
        report: Called with every new status.
        custom_data: More texts for each bag's metadata.
        graph: The recorder's graph; episodes and sessions that name another one are not recorded. Empty: all are.
    """

    def __init__(
        self,
        config: RecorderConfig,
        recorded: tuple[RecordedTopic, ...],
        report: Callable[[RecorderStatus], None],
        custom_data: Mapping[str, str] | None = None,
        graph: str = "",
    ) -> None:
        self.config = config
        self._foreign = ForeignMessages(graph, lambda sentence: self._say("error", sentence))
        self.audits: list[Audit] = []
        self._recorded = {topic.name: topic for topic in recorded}
        self._report = report
        self._custom_data = dict(custom_data or {})
        sim = any(topic.name == topics.SIM_STATE and topic.required for topic in recorded)
        # Two 640 x 480 cameras at 30 Hz are 55 MB/s: more than one core compresses with zstd.
        automatic = "zstd" if sim else "lz4"
        self._compression = automatic if config.compression == "auto" else config.compression
        self._pre_roll = PreRoll(config, self._recorded)
        self._writer: BagWriter | None = None
        self._episode: Episode | None = None
        self._seen: set[str] = {""}
        self._names: dict[str, Path] = {}
        self._held: list[RawMessage] = []
        self._drain_end_ns: int | None = None  # monotonic
        self._stamps: dict[str, set[int]] = {}
        self._steps: set[int] = set()
        self._disk_checked_ns = 0  # monotonic

    @property
    def recording(self) -> bool:
        """Whether a bag is open."""
        return self._writer is not None

    @property
    def bag_bytes(self) -> int:
        """Uncompressed bytes in the open bag; 0 when none is open."""
        writer = self._writer
        return 0 if writer is None else writer.num_bytes

    def bag_path(self, episode: Episode) -> Path:
        """Return where the bag of an episode goes: TIME_TASK_SEED by the wall clock, numbered when taken.

        The time is that of the first call for an episode, so that what was announced is what gets written.
        """
        if episode.episode_id in self._names:
            return self._names[episode.episode_id]
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        task = re.sub(r"[^A-Za-z0-9._-]+", "_", episode.task).strip("._") or "episode"
        name = f"{stamp}_{task}" + (f"_{episode.seed:06d}" if episode.seed >= 0 else "")  # no seed on an arm
        folder = Path(self.config.bag_dir).expanduser()
        path, number = folder / name, 1
        given = set(self._names.values())
        while path in given or path.exists() or path.with_name(path.name + PARTIAL_SUFFIX).exists():
            number += 1
            path = folder / f"{name}-{number}"
        # A few: the next episode may be announced while the one before is still being written.
        self._names = dict([*list(self._names.items())[1 - NAMES_KEPT :], (episode.episode_id, path)])
        return path

    def on_message(self, topic: str, data: bytes, now_ns: int, mono_ns: int) -> None:
        """Take one raw message.

        Args:
            topic: Its topic.
            data: CDR bytes.
            now_ns: ROS time of arrival [ns]; 0 if there is no clock yet.
            mono_ns: Monotonic time of arrival [ns].
        """
        try:
            stamp = header_stamp_ns(data) if self._recorded[topic].stamped else 0
        except BagError as error:
            self._report(RecorderStatus(state="error", detail=f"A message on {topic} was dropped: {error}"))
            return
        item = RawMessage(topic, data, stamp or now_ns, now_ns or stamp, mono_ns)
        if self._foreign.holds(topic, self._recorded[topic].type, data):
            return
        if topic == topics.EPISODE_INFO:
            self._on_episode(item)
            return
        self._pre_roll.remember(item)
        if self._writer is None:
            return
        if self._drain_end_ns is not None:
            self._held.append(item)
            self.on_time(mono_ns)
        else:
            self._write(item)

    def on_time(self, mono_ns: int) -> None:
        """Close a draining bag when its episode is complete or the time is over; call it regularly."""
        self._watch_disk(mono_ns)
        if self._drain_end_ns is None or self._episode is None:
            return
        if mono_ns >= self._drain_end_ns or self._is_complete():
            self._finish(None)

    def close(self) -> None:
        """Complete the open bag at shutdown; an episode without an end counts as CRASHED."""
        if self._writer is None or self._episode is None:
            return
        if self._drain_end_ns is None:
            fields = {
                "outcome": EpisodePhase.CRASHED.name,
                "detail": "The recorder was stopped before the end.",
            }
            self._finish(None, fields)
        else:
            self._finish(None)

    def _watch_disk(self, mono_ns: int) -> None:
        """Complete the bag while there is still room for its end."""
        if self._writer is None or mono_ns - self._disk_checked_ns < DISK_CHECK_NS:
            return
        self._disk_checked_ns = mono_ns
        try:
            free_mb = shutil.disk_usage(self._writer.partial_path).free / 1e6
        except OSError as error:
            self.give_up(f"The bag {self._writer.path} is gone: {error.strerror or error}.")
            return
        if free_mb >= self.config.min_free_mb / 2:
            return
        sentence = f"The recording ended early: {free_mb:.0f} MB of disk space are left (min_free_mb)."
        ended = self._drain_end_ns is not None
        self._finish(None, {} if ended else {"outcome": EpisodePhase.CRASHED.name, "detail": sentence})
        self._say("error", sentence)

    # --- episodes ---

    def _on_episode(self, item: RawMessage) -> None:
        info = typestore().deserialize_cdr(item.data, self._recorded[topics.EPISODE_INFO].type)
        episode = episode_from_msg(info)
        current = self._episode
        if episode.phase == EpisodePhase.RUNNING:
            if episode.episode_id in self._seen:
                return
            if self._writer is not None:
                # The old world is gone without a terminal phase, or is still draining.
                crashed = {
                    "outcome": EpisodePhase.CRASHED.name,
                    "detail": "The next episode began before the end.",
                }
                self._finish(episode.start_ns, {} if self._drain_end_ns is not None else crashed)
            self._start(episode, item)
            return
        ours = current is not None and episode.episode_id == current.episode_id and self._writer is not None
        if ours and self._drain_end_ns is None and episode.phase != EpisodePhase.IDLE:
            self._write(item, force=True)
            self._episode = episode
            self._drain_end_ns = item.mono_ns + int(self.config.drain_s * NS_PER_S)
            self.on_time(item.mono_ns)

    def _start(self, episode: Episode, item: RawMessage) -> None:
        self._seen.add(episode.episode_id)
        self._episode = episode
        self._stamps, self._steps, self._held, self._drain_end_ns = {}, set(), [], None
        path = self.bag_path(episode)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            free_mb = shutil.disk_usage(path.parent).free / 1e6
            if free_mb < self.config.min_free_mb:
                raise BagError(
                    f"{episode.episode_id} is not recorded: {path.parent} has {free_mb:.0f} MB free, "
                    f"at least {self.config.min_free_mb:.0f} MB are needed (min_free_mb)."
                )
            custom = {**episode_custom_data(episode), **self._custom_data}
            self._writer = BagWriter(path, custom, compression=self._compression)
            for topic in self._recorded.values():
                self._writer.add_topic(topic.name, topic.type, latched=topic.latched)
        except (BagError, OSError) as error:
            self.give_up(str(error))
            return
        for latched in self._pre_roll.latched():
            self._write(latched, force=True)
        self._write(item, force=True)
        for early in self._pre_roll.early():
            self._write(early)
        self._say("recording", f"Recording {episode.episode_id}.")

    def _end_ns(self) -> int:
        """Return the newest stamp that belongs to the episode: its observations follow each other without a gap.

        The end is announced on another topic and may overtake any number of observations.
        """
        found = {stamp for stamps in self._stamps.values() for stamp in stamps}
        found |= {item.stamp_ns for item in self._held if self._recorded[item.topic].observation}
        if not found:
            return 2**63
        end_ns, *others = sorted(found)
        for stamp in others:
            if stamp - end_ns > EPISODE_GAP_NS:
                break
            end_ns = stamp
        return end_ns + EPISODE_GAP_NS

    def _is_complete(self) -> bool:
        """Return whether all actions and observations of an episode that counts its steps have arrived."""
        episode = self._episode
        if episode is None or not episode.step:
            return False
        steps, stamps = set(self._steps), {name: set(values) for name, values in self._stamps.items()}
        end_ns = self._end_ns()
        for item in self._held:
            if item.stamp_ns <= end_ns:
                self._count(item, stamps, steps)
        observed = [t.name for t in self._recorded.values() if t.observation and t.required]
        enough = all(len(stamps.get(name, ())) >= episode.step + 1 for name in observed)
        return enough and len(steps) >= episode.step

    def _finish(self, next_start_ns: int | None, custom: Mapping[str, str] | None = None) -> None:
        writer, episode = self._writer, self._episode
        if writer is None or episode is None:
            return
        end_ns = self._end_ns()
        for item in self._held:
            if item.stamp_ns <= end_ns and (next_start_ns is None or item.stamp_ns < next_start_ns):
                self._write(item)
        if self._writer is None:  # the disk failed while writing the held messages
            return
        stamps = {name: sorted(values) for name, values in self._stamps.items()}
        audit = audit_episode(
            tuple(self._recorded.values()), writer.counts, stamps, sorted(self._steps), episode.step
        )
        self.audits.append(audit)
        final = {**episode_custom_data(episode), **(custom or {}), "audit": audit.to_json()}
        self._drain_end_ns, self._held = None, []
        try:
            path = writer.finish(final)
        except BagError as error:
            self.give_up(str(error))
            return
        self._writer = None
        problems = "" if audit.complete else " Incomplete: " + " ".join(audit.warnings)
        self._report(
            RecorderStatus(
                state="ready",
                detail=f"Recorded {episode.episode_id} ({final['outcome']}).{problems}",
                episode_id=episode.episode_id,
                bag_path=str(path),
            )
        )

    # --- messages ---

    def _count(self, item: RawMessage, stamps: dict[str, set[int]], steps: set[int]) -> None:
        if self._recorded[item.topic].observation:
            stamps.setdefault(item.topic, set()).add(item.stamp_ns)
        elif item.topic == topics.APPLIED_ACTION and self._episode is not None:
            message = typestore().deserialize_cdr(item.data, self._recorded[item.topic].type)
            action = applied_action_from_msg(message)
            if action.episode_id in ("", self._episode.episode_id):
                steps.add(action.step)

    def _write(self, item: RawMessage, *, force: bool = False) -> None:
        """Write a message that belongs to the episode; `force`: whatever its stamp."""
        if self._writer is None or self._episode is None:
            return
        if not force and item.stamp_ns < self._episode.start_ns:
            return
        try:
            self._count(item, self._stamps, self._steps)
            self._writer.write(item.topic, item.data, max(item.log_ns, self._episode.start_ns), item.stamp_ns)
        except BagError as error:
            self.give_up(f"{error} The recording of {self._episode.episode_id} ended there.")
        # A message of another version of the stack must end neither the recorder nor the graph.
        except Exception as error:  # noqa: BLE001  (costs this bag, never the recorder)
            self.give_up(
                f"A message on {item.topic} cannot be recorded ({type(error).__name__}: {error}). "
                f"The recording of {self._episode.episode_id} ended there."
            )

    def give_up(self, sentence: str) -> None:
        """Give the bag up, say why, go on with the next episode: recording must never stop the arm."""
        writer = self._writer
        self._writer, self._drain_end_ns, self._held = None, None, []
        if writer is not None:
            with suppress(
                Exception
            ):  # the disk may be what failed; what is written stays, for `physgen repair`
                writer.abandon()
        self._say("error", sentence)

    def _say(self, state: str, detail: str) -> None:
        episode_id = self._episode.episode_id if self._episode else ""
        path = str(self._writer.path) if self._writer else ""
        self._report(RecorderStatus(state=state, detail=detail, episode_id=episode_id, bag_path=path))
