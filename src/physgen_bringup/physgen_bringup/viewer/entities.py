# SPDX-License-Identifier: Apache-2.0
"""Each kind of entity as one call of the Rerun SDK: which archetype, which colour, which unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from physgen_bringup.viewer import blueprint as names
from physgen_bringup.viewer.camera import CameraView
from physgen_bringup.viewer.prediction import ActionLimits, PredictedPath
from physgen_control.types import AppliedAction, Float64Array, UInt8Image

CHUNKS = ((90, 220, 120), (90, 160, 255), (190, 130, 255))
"""Colours of the executed chunk and of the lookahead behind it."""
CUT, MEASURED = (255, 70, 60), (255, 200, 60)
AXES = ((235, 90, 80), (90, 200, 110), (90, 150, 245))
JPEG_QUALITY = 90
FAR = 5.0
"""A camera farther away [m] is no thing of the scene."""
_WALL_TIME_NS = 10**17
"""Stamps beyond it are times of the calendar; those of a simulation start near 0."""
_STATE_COLOURS = {
    "armed": 0x4CAF50FF, "running": 0x4CAF50FF, "policy": 0x4CAF50FF, "success": 0x2E7DFFFF,
    "hold": 0xFFB300FF, "shadow": 0x78909CFF, "disarmed": 0x546E7AFF, "idle": 0x546E7AFF, "none": 0x37474FFF,
    "fault": 0xE53935FF, "failure": 0xE53935FF, "crashed": 0xB71C1CFF, "discarded": 0x8D6E63FF,
    "teleop": 0x42A5F5FF, "homing": 0xAB47BCFF,
}  # fmt: skip


class Canvas:
    """Logs to one recording of the Rerun SDK at the time that `at` says."""

    def __init__(self, recording: Any) -> None:
        import rerun as rr

        self._rr = rr
        self._recording = recording
        self._drawn_from: CameraView | None = None

    def at(self, stamp_ns: int) -> None:
        """Set the time of what follows [ns of ROS time]."""
        if stamp_ns > _WALL_TIME_NS:
            self._recording.set_time(names.TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))
        else:
            self._recording.set_time(names.TIMELINE, duration=np.timedelta64(stamp_ns, "ns"))

    def furniture(self, limits: ActionLimits | None) -> None:
        """Log what never changes: axes, colours and names of curves, the workspace."""
        rr = self._rr
        self._static(names.WORLD, rr.ViewCoordinates.RIGHT_HAND_Z_UP)
        for entity, axes in ((names.TRANSLATION, ("x", "y", "z")), (names.ROTATION, ("rx", "ry", "rz"))):
            self._static(entity, rr.SeriesLines(names=list(axes), colors=AXES, widths=[1.5] * 3))
            faint = [tuple(value // 2 for value in colour) for colour in AXES]
            self._static(
                f"{entity}/before",
                rr.SeriesLines(names=[f"{axis} before" for axis in axes], colors=faint, widths=[1.0] * 3),
            )
        self._static(names.GRIPPER_PLOT, rr.SeriesLines(names=["gripper"], colors=[MEASURED]))
        if limits is None:
            return
        for entity in (names.TRANSLATION, names.ROTATION):
            self._static(
                f"{entity}/limit",
                rr.SeriesLines(names=["limit", "-limit"], colors=[CUT, CUT], widths=[1.0, 1.0]),
            )
        self._limits = (limits.translation * 1e3, limits.rotation * 1e3)
        self._static(
            names.WORKSPACE,
            rr.Boxes3D(
                mins=[limits.low],
                sizes=[limits.high - limits.low],
                colors=[(110, 118, 130)],
                radii=0.001,
                fill_mode="majorwireframe",
            ),
        )

    _limits: tuple[float, float] | None = None

    def image(self, entity: str, rgb: UInt8Image) -> None:
        """Log an image as JPEG: a viewer needs no more, and memory and sockets have less to carry."""
        self._log(entity, self._rr.Image(np.ascontiguousarray(rgb)).compress(jpeg_quality=JPEG_QUALITY))

    def camera(self, view: CameraView) -> None:
        """Log where the fixed camera stands in the scene."""
        known = self._drawn_from
        if float(np.linalg.norm(view.pose.position)) > FAR or (
            known is not None and np.array_equal(known.pose.position, view.pose.position)
        ):
            return
        self._drawn_from = view
        rr = self._rr
        self._static(
            names.FIXED_IN_WORLD,
            rr.Transform3D(
                translation=view.pose.position, quaternion=rr.Quaternion(xyzw=view.pose.quaternion)
            ),
            rr.Pinhole(
                image_from_camera=view.matrix,
                resolution=(view.width, view.height),
                image_plane_distance=0.12,
            ),
        )

    def predicted(self, path: PredictedPath, view: CameraView | None) -> None:
        """Log the path of a prediction, one strip for each chunk, in the scene and in the fixed camera's image."""
        rr = self._rr
        colours = [CHUNKS[min(index, len(CHUNKS) - 1)] for index in range(len(path.positions))]
        self._log(names.PREDICTED, rr.LineStrips3D(list(path.positions), colors=colours, radii=0.003))
        cut = path.positions[:, 1:][path.cut]
        self._log(f"{names.PREDICTED}/cut", rr.Points3D(cut, colors=[CUT] * len(cut), radii=0.007))
        if view is None:
            return
        strips = [_in_front(view, points) for points in path.positions]
        shown = [index for index, strip in enumerate(strips) if len(strip) > 1]
        self._log(
            f"{names.FIXED}/predicted",
            rr.LineStrips2D(
                [strips[i] for i in shown],
                colors=[colours[i] for i in shown],
                radii=_line(view),
                draw_order=20.0,
            ),
        )
        points = _in_front(view, cut)
        self._log(
            f"{names.FIXED}/cut",
            rr.Points2D(points, colors=[CUT] * len(points), radii=2 * _line(view), draw_order=30.0),
        )

    def executed(self, positions: Float64Array, cut: Float64Array, view: CameraView | None) -> None:
        """Log the measured path [n, 3] of an episode and where commands were cut [m, 3]."""
        rr = self._rr
        cut = cut.reshape(-1, 3)
        if len(positions) > 1:
            self._log(names.EXECUTED, rr.LineStrips3D([positions], colors=[MEASURED], radii=0.0025))
        if len(cut):
            self._log(f"{names.EXECUTED}/cut", rr.Points3D(cut, colors=[CUT] * len(cut), radii=0.006))
        if view is None or len(positions) < 2:
            return
        self._log(
            f"{names.FIXED}/executed",
            rr.LineStrips2D(
                [_in_front(view, positions)], colors=[MEASURED], radii=_line(view) / 2, draw_order=10.0
            ),
        )

    def forget_paths(self) -> None:
        """Clear what belongs to an episode that is over."""
        for entity in (
            *(names.PREDICTED, names.EXECUTED, f"{names.FIXED}/predicted"),
            *(f"{names.FIXED}/executed", f"{names.FIXED}/cut", *names.IMAGINED.values()),
        ):
            self._log(entity, self._rr.Clear(recursive=True))

    def objects(self, positions: dict[str, Float64Array]) -> None:
        """Log the simulated objects as named points."""
        rr = self._rr
        if positions:
            self._log(
                names.OBJECTS,
                rr.Points3D(
                    list(positions.values()), labels=list(positions), radii=0.015, colors=[(150, 200, 255)]
                ),
            )

    def action(self, action: AppliedAction) -> None:
        """Log one action before and after safety [mm, mrad, -], with the limits beside it."""
        rr = self._rr
        if action.applied.size < 7:
            return
        for index, entity in enumerate((names.TRANSLATION, names.ROTATION)):
            part = slice(3 * index, 3 * index + 3)
            self._log(f"{entity}/before", rr.Scalars(action.raw[part] * 1e3))
            self._log(entity, rr.Scalars(action.applied[part] * 1e3))
            if self._limits is not None:
                limit = self._limits[index]
                self._log(f"{entity}/limit", rr.Scalars([limit, -limit]))
        self._log(names.GRIPPER_PLOT, rr.Scalars([float(action.applied[6])]))

    def latency(self, stage: str, duration_ns: int) -> None:
        """Log how long a stage took, in milliseconds."""
        entity = f"{names.LATENCY}/{stage.replace(' ', '_')}"
        self._log(entity, self._rr.Scalars([duration_ns / 1e6]))

    def surprise(self, errors: tuple[float, ...]) -> None:
        """Log how wrong an expected frame was, in levels of 255: worst blocks and mean of each view."""
        stages = ("fixed worst", "fixed mean", "wrist worst", "wrist mean")
        for stage, error in zip(stages, errors, strict=True):
            self._log(f"{names.SURPRISE}/{stage.replace(' ', '_')}", self._rr.Scalars([error]))

    def state(self, lane: str, state: str) -> None:
        """Log the new state of a lane of the timeline."""
        rr = self._rr
        entity = f"{names.STATES}/{lane}"
        if lane in ("episode", "safety", "commands"):
            self._static(
                entity,
                rr.StateConfiguration(values=list(_STATE_COLOURS), colors=list(_STATE_COLOURS.values())),
            )
        self._log(entity, rr.StateChange(state=state))

    def event(self, text: str, level: str) -> None:
        """Log a line of text."""
        self._log(names.EVENTS, self._rr.TextLog(text, level=level))

    def document(self, entity: str, markdown: str, *, static: bool = False) -> None:
        """Log a Markdown text."""
        self._recording.log(
            entity, self._rr.TextDocument(markdown, media_type=self._rr.MediaType.MARKDOWN), static=static
        )

    def _log(self, entity: str, *archetypes: Any) -> None:
        self._recording.log(entity, *archetypes)

    def _static(self, entity: str, *archetypes: Any) -> None:
        self._recording.log(entity, *archetypes, static=True)


def _in_front(view: CameraView, points: Float64Array) -> Float64Array:
    """Return the pixels of the points that lie before the camera, float64 [n, 2]."""
    pixels, before = view.project(points)
    return pixels[before]


def _line(view: CameraView) -> float:
    """Return the radius of a line in the image [pixels]."""
    return view.height / 160.0
