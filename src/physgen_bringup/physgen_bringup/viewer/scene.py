# SPDX-License-Identifier: Apache-2.0
"""The one function that turns values of a graph, live or recorded, into entities of the viewer: `Scene.show`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from physgen_bringup.viewer import blueprint as names
from physgen_bringup.viewer import entities
from physgen_bringup.viewer.camera import CameraView, measured_view, simulated_view
from physgen_bringup.viewer.expectations import Expectations
from physgen_bringup.viewer.panels import keys_text, names_of, status_text
from physgen_bringup.viewer.prediction import ActionLimits, PredictedPath, predicted_path
from physgen_bringup.viewer.robot import RobotView
from physgen_control.controller_config import RobotType
from physgen_control.messages import topics
from physgen_control.messages.status import (
    Intrinsics,
    MeasuredJoints,
    MeasuredPose,
    PolicyReport,
    PredictionReport,
    SafetyReport,
    StaticTransform,
)
from physgen_control.types import (
    AckResult,
    ActionChunk,
    AppliedAction,
    CameraFrame,
    ChunkAck,
    Episode,
    EpisodePhase,
    Limit,
    SimState,
)

KEPT_POSES = 400
"""Measured poses of an episode that are kept and drawn as its path; older ones are left out: 20 s at 20 Hz."""

PATH_EVERY_NS = 100_000_000
"""The whole path is drawn again at most so often: its points are most of what is drawn."""


class Scene:
    """What is known of a graph so far, and where it is drawn.

    Args:
        recording: A RecordingStream of rerun.
        limits: Of the controller; None draws none.
        keys: Show what the keys of the keyboard teleoperation do.
        robot: Whose links are drawn until an episode names the robot.
    """

    def __init__(
        self, recording: Any, *, limits: ActionLimits | None, keys: bool = False, robot: str = "panda"
    ) -> None:
        self._draw = entities.Canvas(recording)
        self._recording = recording
        self._limits = limits
        self._robot = RobotView(recording, _robot_type(robot))
        self._episode: Episode | None = None
        self._safety: SafetyReport | None = None
        self._policy: PolicyReport | None = None
        self._step = 0
        self._refusal = ""
        self._text = ""
        self._transforms: dict[str, StaticTransform] = {}
        self._intrinsics: dict[str, Intrinsics] = {}
        self._size: tuple[int, int] | None = None
        self._view: CameraView | None = None
        self._poses: deque[MeasuredPose] = deque(maxlen=KEPT_POSES)
        self._opening = 0.0
        self._cut: deque[tuple[float, float, float]] = deque(maxlen=KEPT_POSES)
        self._path_drawn_ns = 0
        self._path: PredictedPath | None = None
        self._chunk: ActionChunk | None = None
        self._shown: dict[str, str] = {}
        self._expected = {camera: Expectations() for camera in topics.CAMERAS}
        self._methods: dict[str, Callable[[Any], None]] = {
            topics.EPISODE_INFO: self._show_episode,
            topics.TF_STATIC: self._show_transforms,
            topics.CURRENT_POSE: self._show_pose,
            topics.JOINT_STATES: self._show_joints,
            topics.SIM_STATE: self._show_objects,
            topics.ACTION_CHUNK: self._show_chunk,
            topics.CHUNK_ACK: self._show_ack,
            topics.APPLIED_ACTION: self._show_applied,
            topics.SAFETY_STATUS: self._show_safety,
            topics.POLICY_STATUS: self._show_policy,
            topics.PREDICTED_IMAGE: self._show_imagined,
            topics.PREDICTION_ERROR: self._show_surprise,
            **{topics.camera_info_topic(c): self._info_of(c) for c in topics.CAMERAS},
            **{topics.image_topic(c): self._image_of(c) for c in topics.CAMERAS},
        }
        self._draw.furniture(limits)
        if keys:
            self._draw.document(names.KEYS, keys_text(), static=True)

    def show(self, topic: str, value: Any) -> None:
        """Draw one value of a topic (see `feed.FEEDS`) at the time of its stamp; other topics are left out."""
        method = self._methods.get(topic)
        if method is not None:
            method(value)

    # ---- cameras

    def _image_of(self, camera: str) -> Callable[[CameraFrame], None]:
        entity = names.FIXED if camera == "fixed" else names.WRIST

        def show(frame: CameraFrame) -> None:
            self._draw.at(frame.stamp_ns)
            self._draw.image(entity, frame.rgb)
            wrong = self._expected[camera].wrong(frame)
            if wrong is not None:
                self._draw.image(names.WRONG[camera], wrong)
            if camera == "fixed" and self._size != frame.rgb.shape[:2]:
                self._size = (frame.rgb.shape[0], frame.rgb.shape[1])
                self._look()

        return show

    def _info_of(self, camera: str) -> Callable[[Intrinsics], None]:
        def show(intrinsics: Intrinsics) -> None:
            known = self._intrinsics.get(camera)
            self._intrinsics[camera] = intrinsics
            if known is None or not np.array_equal(known.matrix, intrinsics.matrix):
                self._look()

        return show

    def _show_transforms(self, transforms: tuple[StaticTransform, ...]) -> None:
        self._transforms |= {entry.child: entry for entry in transforms}
        self._look()

    def _look(self) -> None:
        """Find out where the fixed camera is: from static transforms, else from the simulated task."""
        view = None
        intrinsics = self._intrinsics.get("fixed")
        if intrinsics is not None:
            view = measured_view(self._transforms.values(), self._base(), intrinsics)
        if view is None and self._episode is not None and self._size is not None:
            view = simulated_view(self._episode.source, self._episode.task, self._size[1], self._size[0])
        self._view = view
        if view is not None:
            self._draw.camera(view)

    def _base(self) -> str:
        """The base frame as the poses name it; the driver of the arm calls the same frame PREFIX_link0."""
        children = {entry.parent for entry in self._transforms.values()}
        named = self._poses[-1].frame_id if self._poses else "base"
        return named if named in children else next((c for c in children if c.endswith("_link0")), named)

    def _show_imagined(self, frame: CameraFrame) -> None:
        """Draw an imagined frame at the time that it is imagined for, so that it stands beside the real one."""
        chunk = self._chunk
        ahead = 0
        if chunk is not None:
            ahead = chunk.execute_steps * chunk.step_period_ns
        self._draw.at(frame.stamp_ns + ahead)
        half = frame.rgb.shape[1] // 2
        for camera, view in (("fixed", frame.rgb[:, :half]), ("wrist", frame.rgb[:, half:])):
            self._draw.image(names.IMAGINED[camera], view)
            self._expected[camera].add(frame.stamp_ns + ahead, view)

    def _show_surprise(self, report: PredictionReport) -> None:
        self._draw.at(report.stamp_ns)
        self._draw.surprise(report.errors)

    # ---- robot and paths

    def _show_pose(self, measured: MeasuredPose) -> None:
        if self._poses and measured.stamp_ns <= self._poses[-1].stamp_ns:
            return  # repeated in lockstep, or an older one
        self._poses.append(measured)
        self._draw.at(measured.stamp_ns)
        self._robot.show_gripper(measured.pose, self._opening)
        if measured.stamp_ns - self._path_drawn_ns >= PATH_EVERY_NS:
            self._path_drawn_ns = measured.stamp_ns
            self._draw.executed(self._executed(), np.array(self._cut), self._view)

    def _executed(self) -> np.ndarray:
        """Return the measured positions of this episode, float64 [n, 3] in m."""
        start_ns = self._episode.start_ns if self._episode is not None else 0
        points = [entry.pose.position for entry in self._poses if entry.stamp_ns >= start_ns]
        return np.array(points, np.float64).reshape(-1, 3)

    def _show_joints(self, joints: MeasuredJoints) -> None:
        self._opening = joints.gripper_width
        if self._poses and abs(self._poses[-1].stamp_ns - joints.stamp_ns) < 100_000_000:
            self._draw.at(joints.stamp_ns)
            self._robot.show_arm(joints, self._poses[-1].pose)

    def _show_objects(self, state: SimState) -> None:
        self._draw.at(state.stamp_ns)
        self._draw.objects({name: pose.position for name, pose in state.objects.items()})

    def _show_chunk(self, chunk: ActionChunk) -> None:
        self._chunk = chunk
        self._refusal = ""
        self._draw.at(chunk.observation_stamp_ns)
        self._draw.latency("wait for inference", chunk.inference_start_ns - chunk.observation_stamp_ns)
        self._draw.latency("inference", chunk.inference_end_ns - chunk.inference_start_ns)
        before = [p for p in self._poses if p.stamp_ns <= chunk.observation_stamp_ns] or list(self._poses)[:1]
        self._path = predicted_path(chunk, before[-1].pose, self._limits) if before else None
        if self._path is not None:
            self._draw.predicted(self._path, self._view)

    def _show_ack(self, ack: ChunkAck) -> None:
        if ack.result in (AckResult.ACCEPTED, AckResult.SHADOW):
            self._refusal = ""
            return
        self._refusal = f"{ack.result.name.lower()}: {ack.detail}"
        self._draw.at(ack.stamp_ns)
        self._draw.event(f"chunk {ack.chunk_seq} refused, {self._refusal}", "WARN")
        self._tell()

    def _show_applied(self, action: AppliedAction) -> None:
        self._draw.at(action.stamp_ns)
        self._step = action.step + 1
        self._draw.action(action)
        if action.latency > 0.0:
            self._draw.latency("observation to command", round(action.latency * 1e9))
        self._lane("commands", action.source.name.lower())
        limited = action.limits & ~Limit.DISTURBANCE
        if limited and np.isfinite(action.target_pose.position).all():
            x, y, z = action.target_pose.position
            self._cut.append((float(x), float(y), float(z)))
        self._lane("limits", _flags(action.limits))
        self._tell()

    # ---- states and texts

    def _show_episode(self, episode: Episode) -> None:
        known = self._episode
        self._episode = episode
        if known is None or known.episode_id != episode.episode_id:
            self._cut.clear()
            self._poses = deque((p for p in self._poses if p.stamp_ns >= episode.start_ns), KEPT_POSES)
            self._path, self._step, self._refusal = None, 0, ""
            for expected in self._expected.values():
                expected.forget()
            self._draw.at(episode.start_ns)
            self._draw.forget_paths()
            if known is None or known.robot != episode.robot:
                self._robot = RobotView(self._recording, _robot_type(episode.robot))
            self._look()
        if episode.phase != EpisodePhase.RUNNING:
            # Its stamp is that of the first observation: what ends it came with the newest pose.
            self._draw.at(max(episode.start_ns, self._poses[-1].stamp_ns if self._poses else 0))
        self._lane("episode", episode.phase.name.lower())
        if known is None or (known.episode_id, known.phase) != (episode.episode_id, episode.phase):
            self._draw.event(f"{episode.task}: {episode.phase.name.lower()} {episode.detail}".strip(), "INFO")
        self._tell()

    def _show_safety(self, report: SafetyReport) -> None:
        self._safety = report
        self._draw.at(report.stamp_ns)
        self._lane("safety", report.state.name.lower())
        self._lane("faults", names_of(report.faults))
        if report.detail and self._shown.get("safety detail") != report.detail:
            self._draw.event(report.detail, "INFO" if not report.faults else "WARN")
        self._shown["safety detail"] = report.detail
        self._tell()

    def _show_policy(self, report: PolicyReport) -> None:
        self._policy = report
        self._draw.at(report.stamp_ns)
        if report.predictions:
            self._draw.latency("policy last", round(report.latency_last * 1e9))
            self._draw.latency("policy p95", round(report.latency_p95 * 1e9))
        self._tell()

    def _lane(self, name: str, state: str) -> None:
        """Change one lane of the states, if it changes."""
        if self._shown.get(name) != state:
            self._shown[name] = state
            self._draw.state(name, state)

    def _tell(self) -> None:
        text = status_text(self._episode, self._step, self._safety, self._policy, self._refusal)
        if text != self._text:
            self._text = text
            self._draw.document(names.STATUS, text)


def _robot_type(name: str) -> RobotType:
    return RobotType(name) if name in {robot.value for robot in RobotType} else RobotType.FR3


def _flags(limits: Limit) -> str:
    return ", ".join(flag.name.lower() for flag in Limit if flag and flag in limits and flag.name) or "none"
