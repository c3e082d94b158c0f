# SPDX-License-Identifier: Apache-2.0
"""Step two: tracks of the things that the instruction names, and the scene as MJCF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import UInt8Image
from physgen_physworld.pipeline.step_folder import StepFolder, save_picture, sha256
from physgen_physworld.pipeline.video_step import FRAMES, load_video, video_step
from physgen_physworld.plan.goals import Goals, make_goals
from physgen_physworld.reconstruction.colours import Mask
from physgen_physworld.reconstruction.depth import PlaneDepth, SensorDepth
from physgen_physworld.reconstruction.depth_alignment import aligned_depth
from physgen_physworld.reconstruction.depth_picture import read_depth
from physgen_physworld.reconstruction.silhouette import corners
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.tracks_file import import_tracks, save_tracks
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.scene.mjcf import scene_mjcf
from physgen_physworld.scene.scene import Scene, build_scene
from physgen_physworld.values import Tracks, Video, yaw_of

TRACKS, SCENE = "tracks.npz", "scene.xml"


def tracks_step(root: Path) -> StepFolder:
    """Return the step's folder."""
    return StepFolder(root=root, name="reconstruct")


def reconstruct(
    root: Path,
    instruction: str,
    clicks: Mapping[str, tuple[float, float]] | None = None,
    imported: Path | None = None,
    measured: Path | None = None,
    network: Path | None = None,
) -> bool:
    """Find and follow the things of the instruction in the run's video; False if that was done already.

    Args:
        root: folder of the run.
        instruction: names the things.
        clicks: column and row in the first picture by name of a thing.
        imported: a tracks.npz of another program, to take instead of looking.
        measured: a sensor's depth picture of the first picture; it places the things and says which way is up.
        network: folder of a monocular depth network, which does the same less exactly.

    Raises:
        UserError: a thing is not found, nothing moves, or there is no depth to be had.
    """
    step = tracks_step(root)
    video = load_video(root)
    inputs = {"video": sha256(video_step(root).file(FRAMES))}
    if imported is not None and imported.is_file():
        inputs["tracks"] = sha256(imported)
    if measured is not None and measured.is_file():
        inputs["depth"] = sha256(measured)
    if network is not None and (network / "model.safetensors").is_file():
        inputs["network"] = sha256(network / "model.safetensors")
    settings = {"instruction": instruction, "clicks": {name: list(at) for name, at in (clicks or {}).items()}}
    if step.is_done(inputs, settings):
        return False
    step.begin()
    depth = _depth(video, measured, network)
    if imported is not None:
        tracks = import_tracks(imported)
    else:
        tracks = reconstruct_tracks(
            video, find_things(video, things_named(instruction), depth or PlaneDepth(), clicks)
        )
    goals = make_goals(tracks)
    save_tracks(tracks, step.file(TRACKS))
    up = None if depth is None else depth.table_plane(video.camera, _covered(video, tracks))[0]
    step.file(SCENE).write_text(scene_mjcf(build_scene(tracks, up)) + "\n", encoding="utf-8")
    save_picture(drawn_tracks(video, tracks), step.picture_path)
    result = {
        "moved": goals.name,
        "goals": len(goals.positions),
        "lifted": goals.lifted,
        "released": goals.released,
        "up": None if up is None else [round(float(value), 5) for value in up],
        "objects": [
            {
                "name": track.name,
                "start_m": [round(float(value), 4) for value in track.positions[0]],
                "end_m": [round(float(value), 4) for value in track.positions[-1]],
                "travelled_m": round(track.travelled, 4),
                "mean_confidence": round(float(track.confidence.mean()), 3),
            }
            for track in tracks.objects
        ],
    }
    step.finish(inputs, settings, result, (TRACKS, SCENE))
    return True


def _depth(video: Video, measured: Path | None, network: Path | None) -> SensorDepth | None:
    """Return the depth of the first picture that a sensor or a network gives; None: the table's plane has to do.

    Raises:
        UserError: it cannot be read, or the network does not agree with the table.
    """
    if measured is not None and network is not None:
        raise UserError(
            "Depth comes from a sensor or from a network: give --depth or --depth-model, not both."
        )
    if measured is not None:
        return SensorDepth(depth=read_depth(measured))
    if network is None:
        return None
    from physgen_policy.published.depth_model import DepthModel  # brings torch

    seen = DepthModel(network).look(video.frames[0])
    return SensorDepth(depth=aligned_depth(seen.values, seen.kind, video.camera))


def _covered(video: Video, tracks: Tracks) -> Mask:
    """Return the pixels of the first picture that the things cover, as they were found."""
    import cv2

    covered = np.zeros(video.frames.shape[1:3], np.uint8)
    for track in tracks.objects:
        box = corners(track.positions[0], yaw_of(track.quaternions[0]), track.size)
        cv2.fillConvexPoly(covered, cv2.convexHull(np.round(video.camera.project(box)).astype(np.int32)), 1)
    return covered.astype(bool)


def load_situation(root: Path) -> tuple[Tracks, Goals, Scene]:
    """Read what the reconstruction left.

    Raises:
        UserError: it has not been done.
    """
    step = tracks_step(root)
    record = step.record()
    if record is None:
        raise UserError(f"{root} has no tracks yet: `physgen physworld reconstruct {root}` comes first.")
    tracks = import_tracks(step.file(TRACKS))
    up = record["result"].get("up")
    return tracks, make_goals(tracks), build_scene(tracks, None if up is None else np.array(up))


def drawn_tracks(video: Video, tracks: Tracks) -> UInt8Image:
    """Return first and last picture with the boxes where the tracks have them, and the way of each."""
    import cv2

    pictures = []
    for index in (0, -1):
        picture = video.frames[index].copy()
        for track in tracks.objects:
            # Imported tracks may have another number of poses than the video pictures: first and last are what counts.
            way = np.round(video.camera.project(track.positions)).astype(np.int32)
            cv2.polylines(picture, [way[:, None]], False, (255, 255, 0), 1, cv2.LINE_AA)
            box = corners(track.positions[index], yaw_of(track.quaternions[index]), track.size)
            outline = cv2.convexHull(np.round(video.camera.project(box)).astype(np.int32))
            cv2.polylines(picture, [outline], True, (255, 255, 255), 1, cv2.LINE_AA)
        pictures.append(picture)
    return np.hstack(pictures)
