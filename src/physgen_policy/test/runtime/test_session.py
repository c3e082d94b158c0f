# SPDX-License-Identifier: Apache-2.0
"""The live session with its inference thread: failures, repeats and new episodes, without ROS."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from physgen_control.types import ActionChunk, AppliedAction, CameraFrame, Episode, EpisodePhase, Pose, Source
from physgen_policy.contract.observation import GateConfig, PolicyObservation
from physgen_policy.runtime.mailbox import CancelToken
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.session import THREAD_DIED, PolicySession, SessionEvents

DT = 50_000_000
START = 10**10
EPISODE = Episode(episode_id="e", task="t", seed=0, instruction="push", start_ns=START)
IMAGE = np.zeros((2, 2, 3), np.uint8)


class ScriptedPolicy:
    """Acts at once, or waits, or raises, as told."""

    def __init__(self) -> None:
        self.episode_id, self.session_id, self.instruction, self.count = "", "", "", 0
        self.failures: list[BaseException] = []
        self.enter, self.leave = threading.Semaphore(0), threading.Semaphore(0)
        self.wait = False

    def reset(self, episode: Episode, session_id: str = "") -> None:
        self.episode_id, self.session_id, self.count = episode.episode_id, session_id, 0

    def set_instruction(self, instruction: str) -> None:
        self.instruction = instruction

    def act(
        self, observation: PolicyObservation, now_ns: int, cancel: CancelToken | None = None
    ) -> ActionChunk:
        assert observation.episode_id == self.episode_id
        if self.wait:
            self.enter.release()
            assert self.leave.acquire(timeout=30)
        if cancel is not None:
            cancel.check()
        if self.failures:
            raise self.failures.pop()
        self.count += 1
        return ActionChunk.of(
            np.zeros((3, 8, 7), np.float32),
            session_id=self.session_id,
            episode_id=self.episode_id,
            chunk_seq=self.count - 1,
            base_step=observation.base_step,
            stamp_ns=observation.frames.stamp_ns,
            inference_ns=now_ns,
            step_period_ns=DT,
            instruction=self.instruction,
        )

    def predict_frame(self) -> np.ndarray:
        return IMAGE


class Recorder:
    """Collects events and waits for them."""

    def __init__(self, lockstep: bool = True, imagine: bool = False) -> None:
        self.policy = ScriptedPolicy()
        self.chunks: list[ActionChunk] = []
        self.frames: list[int] = []
        self.errors: list[Exception] = []
        self.report_fails = False
        self.now_ns = START
        self._changed = threading.Condition()
        events = SessionEvents(
            chunk=lambda chunk: self._add(self.chunks, chunk),
            frame=lambda image, stamp_ns: self._add(self.frames, stamp_ns),
            failure=self._fail,
            changed=lambda: None,
            wants_frame=lambda: imagine,
        )
        config = GateConfig(step_period_ns=DT, lockstep=lockstep)
        self.session = PolicySession(
            cast(PhysGenPolicy, self.policy), config, ("fixed", "wrist"), events, lambda: self.now_ns
        )

    def _add(self, where: list[Any], item: object) -> None:
        with self._changed:
            where.append(item)
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        self._add(self.errors, error)
        if self.report_fails:
            raise RuntimeError("the publisher is gone")

    def wait(self, where: list[Any], count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(where) >= count, 30), f"only {len(where)} of {count}"

    def show(self, step: int, start_ns: int = START) -> None:
        self.now_ns = start_ns + step * DT
        for stream in ("fixed", "wrist"):
            self.session.put_frame(
                stream, CameraFrame(stamp_ns=start_ns + step * DT, rgb=IMAGE, frame_id="camera")
            )

    def apply(self, step: int, base: int, source: Source = Source.POLICY) -> None:
        vector = np.zeros(7, np.float32)
        self.session.put_action(
            AppliedAction(
                stamp_ns=START + step * DT, state_stamp_ns=START + step * DT,
                session_id=self.session.status.session_id, episode_id="e", step=step, chunk_seq=0,
                base_step=base, step_index=0, chunk_index=0, source=source, executed=True, raw=vector,
                applied=vector, target_pose=Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])), gripper_width=0.08,
            )
        )  # fmt: skip


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    result = Recorder()
    yield result
    result.policy.leave.release(100)
    result.session.close()


def test_failure_is_reported_and_tried_again_when_the_world_asks_again(recorder: Recorder) -> None:
    """In lockstep nothing else comes than the repeated observation: it must restart the inference."""
    recorder.policy.failures = [RuntimeError("out of memory")]
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    recorder.wait(recorder.errors, 1)
    assert "out of memory" in recorder.session.status.detail
    assert not recorder.chunks
    recorder.show(0)
    recorder.wait(recorder.chunks, 1)
    assert (recorder.chunks[0].chunk_seq, recorder.chunks[0].base_step) == (0, 0)
    assert "running" in recorder.session.status.detail


def test_report_that_fails_does_not_end_the_inference_thread(recorder: Recorder) -> None:
    """A publisher that raises while it reports a failure costs the report, not the policy."""
    recorder.report_fails = True
    recorder.policy.failures = [RuntimeError("out of memory")]
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    recorder.wait(recorder.errors, 1)
    recorder.show(0)
    recorder.wait(recorder.chunks, 1)
    assert recorder.session.alive


def lives(recorder: Recorder) -> bool:
    """By a call, because a type checker takes it that a property stays what it was."""
    return recorder.session.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dead_inference_thread_is_named_in_the_status(recorder: Recorder) -> None:
    """What no thread survives is at least said; a closed session is not a dead one."""
    assert lives(recorder)
    recorder.policy.failures = [SystemExit()]
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    deadline = time.monotonic() + 30
    while lives(recorder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not lives(recorder)
    assert recorder.session.status.detail == THREAD_DIED
    recorder.session.close()
    assert lives(recorder)
    assert recorder.session.status.detail == "inactive"


def test_failure_in_realtime_is_tried_again_with_the_next_images() -> None:
    """A world that does not wait offers newer images: those are used."""
    recorder = Recorder(lockstep=False)
    recorder.policy.failures = [RuntimeError("once")]
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    recorder.wait(recorder.errors, 1)
    recorder.apply(0, 0, Source.HOLD)
    recorder.show(1)
    recorder.wait(recorder.chunks, 1)
    assert recorder.chunks[0].base_step == 1
    recorder.session.close()


def test_camera_stamped_a_day_ahead_for_a_while_does_not_starve_the_policy() -> None:
    """Images of an implausible future are ignored and named; the same camera's correct ones count at once."""
    recorder = Recorder(lockstep=False)
    recorder.session.put_episode(EPISODE)
    day_ns = 86_400 * 10**9
    for step in range(80):
        recorder.now_ns = START + step * DT
        for stream, ahead_ns in (("fixed", 0), ("wrist", day_ns)):
            recorder.session.put_frame(
                stream, CameraFrame(stamp_ns=recorder.now_ns + ahead_ns, rgb=IMAGE, frame_id="camera")
            )
    assert "wrist camera are stamped" in recorder.session.status.detail
    assert not recorder.chunks
    recorder.show(80)
    recorder.wait(recorder.chunks, 1)
    assert recorder.chunks[0].observation_stamp_ns == START + 80 * DT
    recorder.session.close()


def test_new_episode_cancels_the_running_inference(recorder: Recorder) -> None:
    """The old episode's chunk is never published, the new one's is."""
    recorder.policy.wait = True
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    assert recorder.policy.enter.acquire(timeout=30)
    first_session = recorder.session.status.session_id
    later = START + 100 * DT
    recorder.session.put_episode(replace(EPISODE, episode_id="f", start_ns=later))
    recorder.show(0, later)
    recorder.policy.wait = False
    recorder.policy.leave.release()
    recorder.wait(recorder.chunks, 1)
    assert [chunk.episode_id for chunk in recorder.chunks] == ["f"]
    assert recorder.chunks[0].session_id != first_session
    assert not recorder.errors


def test_repeated_observation_before_and_after_the_chunk(recorder: Recorder) -> None:
    """While inference runs a repeat changes nothing; afterwards it repeats the chunk, once per pair."""
    recorder.policy.wait = True
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    assert recorder.policy.enter.acquire(timeout=30)
    recorder.show(0)
    recorder.show(0)
    recorder.policy.wait = False
    recorder.policy.leave.release()
    recorder.wait(recorder.chunks, 1)
    recorder.show(0)
    recorder.wait(recorder.chunks, 2)
    assert recorder.chunks[0] == recorder.chunks[1] or recorder.chunks[0] is recorder.chunks[1]
    assert recorder.policy.count == 1
    assert recorder.session.status.predictions == 1


def test_end_of_the_episode_stops_everything(recorder: Recorder) -> None:
    """After the terminal phase no image starts an inference; a repeated announcement changes nothing."""
    recorder.session.put_episode(EPISODE)
    recorder.show(0)
    recorder.wait(recorder.chunks, 1)
    session_id = recorder.session.status.session_id
    recorder.session.put_episode(EPISODE)
    assert recorder.session.status.session_id == session_id
    recorder.session.put_episode(replace(EPISODE, phase=EpisodePhase.SUCCESS, step=1))
    assert not recorder.session.running
    for step in range(8):
        recorder.apply(step, 0)
        recorder.show(step + 1)
    assert recorder.policy.count == 1


def test_instruction_and_frames_reach_the_policy() -> None:
    """The newest instruction goes with the observation; frames are imagined only when somebody looks."""
    recorder = Recorder(imagine=True)
    recorder.session.set_instruction("stack")
    recorder.session.put_episode(replace(EPISODE, instruction=""))
    recorder.show(0)
    recorder.wait(recorder.frames, 1)
    assert recorder.chunks[0].instruction == "stack"
    assert recorder.frames == [START]
    recorder.session.close()
