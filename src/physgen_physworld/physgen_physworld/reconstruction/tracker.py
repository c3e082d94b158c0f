# SPDX-License-Identifier: Apache-2.0
"""Finds each thing in every picture of a video: colour, then the silhouette of its box. Nothing is smoothed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.reconstruction.colours import COLOURS, Mask, blobs, colour_at, colour_mask, grey_mask
from physgen_physworld.reconstruction.depth import Depth, mask_middle
from physgen_physworld.reconstruction.silhouette import BoxFit, SilhouetteFitter, corners
from physgen_physworld.reconstruction.unmixing import backgrounds, covered, own_colours
from physgen_physworld.values import Thing, Video

QUARTER_YAWS = (-0.785, -0.393, 0.0, 0.393)
SURE = 0.85
"""Agreement above which a fit needs no second guess."""

LEAST_AGREEMENT = 0.6
"""Where outline and pixels agree less in the first picture, it is another thing or another size."""

GREY_DOUBT = 0.75
"""Before a grey background a grey pixel may be the arm: it says this much less than another one."""

CHANGED = 10
"""Where a channel differs by more from the video's usual picture or from its first one, something has moved."""

MOST_MOTION_PX = 0.16
"""A thing moves at most this share of the picture's height from one picture to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A thing in one picture: fitted with the height that it began at, and with free height; None: not seen."""

    supported: BoxFit | None
    free: BoxFit | None
    mask: Mask
    doubt: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundThing:
    """A thing with the colour it was found by and its sightings, one per picture."""

    thing: Thing
    colour: str
    sightings: tuple[Sighting, ...]

    @property
    def start(self) -> BoxFit:
        """Where it is in the first picture."""
        first = self.sightings[0].supported
        assert first is not None
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A thing in the first picture, and the colour that it was found by."""

    thing: Thing
    colour: str
    fit: BoxFit
    mask: Mask
    """Its pixels there."""


def find_first(
    picture: UInt8Image,
    camera: Camera,
    things: Sequence[Thing],
    depth: Depth,
    clicks: Mapping[str, tuple[float, float]] | None = None,
) -> list[Start]:
    """Find every thing in one picture, in the order of `things`.

    Args:
        picture: uint8 [height, width, 3].
        camera: that took it.
        things: what to look for.
        depth: how far pixels are.
        clicks: column and row, by name of a thing, for those that a person has pointed at.

    Raises:
        UserError: a thing is not in the picture.
    """
    starts: dict[str, Start] = {}
    taken = np.zeros(picture.shape[:2], bool)
    # Things with a colour of their own first: what is left over is the one that only has a name.
    for thing in sorted(things, key=lambda thing: len(thing.colours)):
        start, mask = _first(picture, camera, thing, depth, taken, (clicks or {}).get(thing.name))
        taken |= mask
        starts[thing.name] = start
    return [starts[thing.name] for thing in things]


def find_things(
    video: Video,
    things: Sequence[Thing],
    depth: Depth,
    clicks: Mapping[str, tuple[float, float]] | None = None,
) -> list[FoundThing]:
    """Find every thing in the first picture and follow it; see `find_first`.

    Raises:
        UserError: a thing is not in the first picture.
    """
    first = video.frames[0]
    starts = find_first(first, video.camera, things, depth, clicks)
    usual = np.median(video.frames, axis=0).astype(np.uint8)
    poses = {start.thing.name: start.fit for start in starts}
    rows: dict[str, list[Sighting]] = {start.thing.name: [] for start in starts}
    unnamed = set(COLOURS) - {start.colour for start in starts}
    every = {start.thing.name: _masks(video, start) for start in starts}
    for number, picture in enumerate(video.frames):
        masks = {name: of_video[number] for name, of_video in every.items()}
        doubt = doubts(picture, (usual, first), unnamed)
        before = dict(poses)
        for start in starts:
            name = start.thing.name
            hidden = np.where(_nearer(video.camera, name, before, masks), 1.0, doubt)
            sighting = follow(video.camera, start, before[name], masks[name], hidden)
            rows[name].append(sighting)
            if sighting.free is not None and sighting.free.agreement > LEAST_AGREEMENT:
                poses[name] = sighting.free
    return [
        FoundThing(thing=start.thing, colour=start.colour, sightings=tuple(rows[start.thing.name]))
        for start in starts
    ]


def _masks(video: Video, start: Start) -> list[Mask]:
    """Return which pixels of every picture are the thing's, or have its colour."""
    by_hue = [colour_mask(picture, start.colour) for picture in video.frames]
    if not video.blurred:
        return by_hue
    behind = backgrounds(video.frames[1:], by_hue[1:])
    shades = own_colours(video.frames[0], start.mask)
    later = zip(video.frames[1:], by_hue[1:], strict=True)
    return [by_hue[0], *(covered(picture, behind, shades, mask) for picture, mask in later)]


def doubts(picture: UInt8Image, backgrounds: Sequence[UInt8Image], colours: Iterable[str]) -> Float64Array:
    """Return how likely each pixel shows something that stands before the things, 0 to 1 [height, width].

    An arm is grey and was not there in a background: 1. Before a grey background it cannot be told from it. A coloured
    thing that nobody named, such as a drawn goal, is of one of the colours: 1.
    """
    came = np.logical_or.reduce([_differs(picture, background) for background in backgrounds])
    grey = grey_mask(picture)
    sure = grey & came
    for colour in colours:
        sure |= colour_mask(picture, colour)
    return np.where(sure, 1.0, np.where(grey, GREY_DOUBT, 0.0))


def _first(
    picture: UInt8Image,
    camera: Camera,
    thing: Thing,
    depth: Depth,
    taken: Mask,
    click: tuple[float, float] | None,
) -> tuple[Start, Mask]:
    colours: Sequence[str] = thing.colours
    if click is not None:
        colours = (colour_at(picture, *click),)
    fitter = SilhouetteFitter(camera, thing.size)
    best: tuple[str, BoxFit, Mask] | None = None
    for colour in colours:
        hidden = np.logical_or.reduce([colour_mask(picture, other) for other in COLOURS if other != colour])
        for blob in blobs(colour_mask(picture, colour) & ~taken)[:4]:
            if click is not None and not blob[int(click[1]), int(click[0])]:
                continue
            try:
                start = depth.place(camera, blob, thing.size)
            except UserError:
                if click is not None:
                    raise
                continue  # a blob above the horizon is no thing on the table
            fit = fitter.fit(blob, hidden.astype(np.float64), start, QUARTER_YAWS, fixed_height=True)
            if fit is not None and (best is None or fit.agreement > best[1].agreement):
                best = colour, fit, blob
        if best is not None and best[1].agreement > LEAST_AGREEMENT:
            break  # the first guess of a colour wins: a ball of another one looks much like a cube in few pixels
    if best is None or best[1].agreement < LEAST_AGREEMENT:
        seen = "nothing like it" if best is None else f"only something {best[0]} that does not have its size"
        width, height, tall = (round(1000 * edge) for edge in thing.size)
        raise UserError(
            f"The {thing.name.replace('_', ' ')} ({width} x {height} x {tall} mm) is not in the first picture, {seen}: "
            f"check the camera, or point at it with --object {thing.name}=COLUMN,ROW."
        )
    return Start(thing=thing, colour=best[0], fit=best[1], mask=best[2]), best[2]


def follow(camera: Camera, start: Start, last: BoxFit, mask: Mask, doubt: Float64Array) -> Sighting:
    """Find a thing again in a picture, near where it was last.

    Args:
        camera: that took the picture.
        start: the thing as it was found first.
        last: where it was last.
        mask: which pixels of the picture have its colour.
        doubt: see `doubts`.
    """
    thing = start.thing
    nothing = Sighting(supported=None, free=None, mask=mask, doubt=doubt)
    expected = camera.project(last.position[None])[0]
    near = MOST_MOTION_PX * mask.shape[0]
    chosen = None
    parts = blobs(mask, fewest=3)
    for blob in parts:
        distance = float(np.linalg.norm(mask_middle(blob) - expected))
        if distance < near:
            chosen, near = blob, distance
    if chosen is None:
        return nothing
    # What stands in front may have cut it into pieces.
    outline = camera.project(corners(last.position, last.yaw, thing.size))
    extent = float(np.linalg.norm(outline.max(axis=0) - outline.min(axis=0)))
    beside = [
        blob
        for blob in parts
        if float(np.linalg.norm(mask_middle(blob) - mask_middle(chosen))) < 0.8 * extent
    ]
    chosen = np.logical_or.reduce(beside)
    middle = mask_middle(chosen)[None]
    ahead = camera.depth_of(last.position[None])
    there = camera.base_from_camera.position + camera.rays(middle)[0] * ahead
    fitter = SilhouetteFitter(camera, thing.size)
    yaws = (last.yaw,)
    # Half hidden, the middle of what is seen is not its middle: where it was before is as good a guess.
    free = fitter.fit(chosen, doubt, there, yaws, fixed_height=False)
    if free is None or free.agreement < SURE:
        again = fitter.fit(chosen, doubt, last.position.copy(), yaws, fixed_height=False)
        free = max(
            (fit for fit in (free, again) if fit is not None), key=lambda fit: fit.agreement, default=None
        )
    supported = None
    try:
        on_table = camera.on_plane(middle, start.fit.position[2])[0]
        supported = fitter.fit(chosen, doubt, on_table, yaws, fixed_height=True)
    except UserError:
        pass  # the ray passes the table: the thing is in the air
    return Sighting(supported=supported, free=free, mask=chosen, doubt=doubt)


def _differs(picture: UInt8Image, usual: UInt8Image) -> Mask:
    away: Mask = np.abs(picture.astype(np.int16) - usual).max(axis=2) > CHANGED
    return away


def _nearer(camera: Camera, name: str, poses: Mapping[str, BoxFit], masks: Mapping[str, Mask]) -> Mask:
    """Pixels of the things that stand between the camera and the named one."""
    eye: Float64Array = camera.base_from_camera.position
    own = float(np.linalg.norm(poses[name].position - eye))
    mask = np.zeros_like(masks[name])
    for other, pose in poses.items():
        if other != name and float(np.linalg.norm(pose.position - eye)) < own:
            mask |= masks[other]
    return mask & ~masks[name]
