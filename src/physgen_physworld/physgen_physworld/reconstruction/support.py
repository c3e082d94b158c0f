# SPDX-License-Identifier: Apache-2.0
"""From sightings to tracks: what is known of rigid things on a table repairs what a single picture does not show.

A thing lies still until something moves it; it rests on the table or on another thing, or it is carried; and where a
video ends at rest on a support, its height there is the support's. Between, the height comes from the silhouette.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physgen_control.types import Float64Array
from physgen_physworld.reconstruction.silhouette import BoxFit, SilhouetteFitter
from physgen_physworld.reconstruction.smoothing import smooth_positions, smooth_yaws
from physgen_physworld.reconstruction.tracker import FoundThing, Sighting
from physgen_physworld.values import ObjectTrack, Tracks, Video, yaw_quaternions

MOVED = 0.006
"""A thing has begun to move when its middle is this share of the picture's height from where it was."""

LEAST_TRUSTED = 0.7
"""Agreement from which on a single sighting proves something."""

LIFTED = 0.018
"""Lower than this [m] above where it began it may as well have been pushed."""

ON_TABLE = 0.022
"""The silhouette's height is this near to the table's where a thing rests on it [m]; just above is air."""

ON_THING = 0.022
"""The same of another thing that it is over."""

ON_THING_BLURRED = 0.06
"""The same where edges are blurred, and the silhouette says less of the height."""

LEAST_SEEN = 0.12
"""Agreement times visible share below which a sighting says nothing."""

TOGETHER = 3.0
"""So many pixels of an edge err as one."""

HIDDEN = 0.03
"""Standard deviation along the ray of a box that is all but hidden [m]."""

STILL = 1e-7
"""Variance [m^2] of a thing that lies still."""


def reconstruct_tracks(video: Video, found: Sequence[FoundThing]) -> Tracks:
    """Return the smoothed tracks of all things, in their order; those that lie still serve as supports."""
    still = {thing.thing.name: _still_track(thing) for thing in found if not _moves(thing)}
    tracks = []
    for thing in found:
        name = thing.thing.name
        tracks.append(still[name] if name in still else _moved_track(video, thing, list(still.values())))
    return Tracks(objects=tuple(tracks), period_s=video.period_s, source=video.source)


def _agreement(fit: BoxFit | None) -> float:
    return fit.agreement if fit is not None else 0.0


def _moves(thing: FoundThing) -> bool:
    away = [
        float(np.linalg.norm((sighting.supported.position - thing.start.position)[:2]))
        for sighting in thing.sightings
        if sighting.supported is not None and sighting.supported.agreement > LEAST_TRUSTED
    ]
    # Half covered by another thing a silhouette shifts a little: an object that moves, moves by its own size.
    return bool(away) and float(np.sort(away)[-2 if len(away) > 1 else -1]) > 0.5 * min(thing.thing.size)


def _still_track(thing: FoundThing) -> ObjectTrack:
    count = len(thing.sightings)
    return ObjectTrack(
        name=thing.thing.name,
        size=thing.thing.size,
        positions=np.tile(thing.start.position, (count, 1)),
        quaternions=np.tile(yaw_quaternions([thing.start.yaw])[0], (count, 1)),
        confidence=np.full(count, thing.start.agreement),
    )


def _moved_track(video: Video, thing: FoundThing, supports: Sequence[ObjectTrack]) -> ObjectTrack:
    sightings = thing.sightings
    count = len(sightings)
    begin = _first_motion(video, thing)
    lifted = _lifted(thing, begin)
    positions = np.full((count, 3), np.nan)
    covariances = np.tile(np.eye(3), (count, 1, 1))
    yaws, variances = np.full(count, np.nan), np.ones(count)
    confidence = np.zeros(count)
    for index, sighting in enumerate(sightings):
        fit = sighting.free if lifted and index >= begin else sighting.supported
        if index < begin:
            fit = thing.start
        if fit is None or fit.agreement * fit.visible < LEAST_SEEN:
            continue
        positions[index] = fit.position
        confidence[index] = fit.agreement * fit.visible
        covariances[index] = _realistic(fit, video, confidence[index])
        yaws[index], variances[index] = fit.yaw, fit.yaw_variance / confidence[index] ** 2
        if index < begin:
            covariances[index] = STILL * np.eye(3)
    if lifted:
        _rest_on_support(video, thing, supports, positions, covariances)
    smooth = smooth_positions(positions, covariances, video.period_s)
    smooth[:, 2] = np.maximum(smooth[:, 2], thing.start.position[2])
    smooth[:begin] = thing.start.position
    return ObjectTrack(
        name=thing.thing.name,
        size=thing.thing.size,
        positions=smooth,
        quaternions=yaw_quaternions(smooth_yaws(yaws, variances)),
        confidence=confidence,
    )


def _realistic(fit: BoxFit, video: Video, confidence: float) -> Float64Array:
    """Return the covariance [3, 3] of a sighting's position [m^2].

    Neighbouring pixels of an edge are wrong together, and the size of a half hidden outline says little of distance.
    """
    ray = fit.position - video.camera.base_from_camera.position
    ray /= float(np.linalg.norm(ray))
    hidden = HIDDEN * (1.0 - fit.visible)
    return TOGETHER**2 * fit.covariance / confidence**2 + hidden**2 * np.outer(ray, ray)


def _first_motion(video: Video, thing: FoundThing) -> int:
    """The first picture from which on the thing is away from its start."""
    start = video.camera.project(thing.start.position[None])[0]
    far = MOVED * video.camera.image_size[0]
    near = []
    for sighting in thing.sightings:
        fit = max(sighting.supported, sighting.free, key=_agreement)
        away = 0.0 if fit is None else np.linalg.norm(video.camera.project(fit.position[None])[0] - start)
        near.append(_agreement(fit) < LEAST_TRUSTED or float(away) < far)
    begin = 1
    while begin < len(near) - 1 and (near[begin] or near[begin + 1]):
        begin += 1
    return begin


def _lifted(thing: FoundThing, begin: int) -> bool:
    heights = [
        sighting.free.position[2] - thing.start.position[2]
        for sighting in thing.sightings[begin:]
        if sighting.free is not None and sighting.free.agreement > LEAST_TRUSTED
    ]
    return len(heights) >= 2 and float(np.sort(heights)[-2]) > LIFTED


def _rest_on_support(
    video: Video,
    thing: FoundThing,
    supports: Sequence[ObjectTrack],
    positions: Float64Array,
    covariances: Float64Array,
) -> None:
    """Where the video ends at rest on something, fit its last pictures at that thing's height."""
    last = positions[-1]
    if not np.all(np.isfinite(last)):
        return
    height = _resting_height(video, thing, supports, float(last[2]))
    if height is None:
        return
    fitter = SilhouetteFitter(video.camera, thing.thing.size)
    for index in range(len(positions) - 1, 0, -1):
        away = positions[index] - last
        if not np.all(np.isfinite(away)) or float(np.linalg.norm(away)) > 0.012:
            break
        fit = _refit(fitter, thing.sightings[index], height)
        if fit is None:
            break
        positions[index] = fit.position
        covariances[index] = fit.covariance
        covariances[index, 2, 2] += STILL


def _resting_height(
    video: Video, thing: FoundThing, supports: Sequence[ObjectTrack], seen: float
) -> float | None:
    """Return the height [m] at which the thing rests in the last picture, where the silhouette's is `seen`; None: none.

    Who is over a thing, at the height of resting on it, is on it rather than behind it on the table.
    """
    size = thing.thing.size
    fitter = SilhouetteFitter(video.camera, size)
    near = ON_THING_BLURRED if video.blurred else ON_THING
    on_things = []
    for track in supports:
        height = float(track.positions[0, 2] + track.size[2] / 2 + size[2] / 2)
        fit = _refit(fitter, thing.sightings[-1], height)
        if fit is None or abs(height - seen) > near:
            continue
        beside = float(np.linalg.norm((track.positions[0] - fit.position)[:2]))
        if beside < 0.75 * max(track.size[0], size[0]):
            on_things.append(height)
    if on_things:
        return min(on_things, key=lambda height: abs(height - seen))
    table = float(thing.start.position[2])
    return table if abs(table - seen) < ON_TABLE else None


def _refit(fitter: SilhouetteFitter, sighting: Sighting, height: float) -> BoxFit | None:
    if sighting.free is None:
        return None
    start = sighting.free.position.copy()
    start[2] = height
    return fitter.fit(sighting.mask, sighting.doubt, start, (sighting.free.yaw,), fixed_height=True)
