# SPDX-License-Identifier: Apache-2.0
"""Where the tracks of a comparison come from: from the simulator's truth down to generated and wrong videos.

Simulator truth enters as the tracks of the rungs that say so, and where an expert's video is filmed; nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_physworld.execution.reality import ManiSkillReality
from physgen_physworld.execution.true_tracks import true_tracks
from physgen_physworld.plan.choice import choose_video
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.values import Thing, Tracks, yaw_of, yaw_quaternions
from physgen_physworld.video.generated import VideoGenerator
from physgen_physworld.video.oracle import OracleEpisode, OracleSource
from physgen_sim_bridge.maniskill.world import ManiSkillWorld

RUNGS = {
    "truth": "the simulator's own poses",
    "oracle": "the expert's video without arm, through the tracker",
    "oracle-arm": "the expert's video with the arm in the way, through the tracker",
    "noise-5-0": "true poses with errors of 5 mm",
    "noise-10-10": "true poses with errors of 10 mm and 10 degrees",
    "noise-20-20": "true poses with errors of 20 mm and 20 degrees",
    "generated": "a generated video",
    "wrong": "a generated video of another scene",
}
NEED_GENERATOR = frozenset({"generated", "wrong"})


class RungScenes:
    """The tracks of one task's seeds on every rung. Not thread-safe.

    Args:
        world: of the task, which draws pictures.
        task: its name.
        generator: for the rungs of generated videos.
    """

    def __init__(self, world: ManiSkillWorld, task: str, generator: VideoGenerator | None) -> None:
        self.world, self.task = world, task
        self.reality = ManiSkillReality(task, world)
        self._generator = generator
        self._filmed: dict[tuple[int, bool], OracleEpisode] = {}

    def oracle(self, seed: int, *, arm: bool = False) -> OracleEpisode:
        """Return the expert's episode, filmed once.

        Raises:
            VideoError: the expert does not solve this seed.
        """
        if (seed, arm) not in self._filmed:
            self._filmed = {key: episode for key, episode in self._filmed.items() if key[0] == seed}
            source = OracleSource(task=self.task, seed=seed, arm=arm)
            self._filmed[seed, arm] = source.episode(self.world)
        return self._filmed[seed, arm]

    def tracks(self, rung: str, seed: int) -> Tracks:
        """Return the tracks that a rung has of a seed.

        Raises:
            VideoError: there is no video.
            UserError: nothing can be reconstructed from it.
        """
        if noise := re.fullmatch(r"noise-(\d+)-(\d+)", rung):
            rng = np.random.default_rng([seed, int(noise[1]), int(noise[2])])
            return with_errors(self._true(seed), int(noise[1]) / 1000, np.radians(int(noise[2])), rng)
        match rung:
            case "truth":
                return self._true(seed)
            case "oracle" | "oracle-arm":
                video = self.oracle(seed, arm=rung == "oracle-arm").video
                return reconstruct_tracks(video, find_things(video, self._things, PlaneDepth()))
            case "generated":
                return self._generated(seed)
            case _:
                return self._generated(seed + 1)

    @property
    def _things(self) -> list[Thing]:
        return things_named(self.reality.instruction)

    def _true(self, seed: int) -> Tracks:
        episode = self.oracle(seed)
        return true_tracks(self.task, self._things, episode.truth, episode.video.period_s)

    def _generated(self, seed: int) -> Tracks:
        generator = self._generator
        if generator is None:
            raise UserError("Generated videos need a video model: add --generator CHECKPOINT.")
        picture = self.reality.begin(seed).picture
        assert picture is not None
        camera, instruction = self.reality.camera, self.reality.instruction
        videos = generator.videos(picture, camera, instruction)
        return choose_video(videos, self._things, PlaneDepth()).tracks


def with_errors(tracks: Tracks, spread: float, turn: float, rng: np.random.Generator) -> Tracks:
    """Return tracks whose moved object errs as a video errs: nothing at its start, more and more along its way.

    Args:
        tracks: without errors.
        spread: standard deviation of the end's error along each axis [m]; every pose has a third of it of its own.
        turn: standard deviation of the end's turn [rad].
        rng: draws.
    """
    moved = tracks.moved
    steps = np.linalg.norm(np.diff(moved.positions, axis=0), axis=1)
    share = np.concatenate([[0.0], np.cumsum(steps)]) / max(float(steps.sum()), 1e-9)
    drift = share[:, None] * rng.normal(0.0, spread, 3)
    own = np.minimum(1.0, 5.0 * share)[:, None] * rng.normal(0.0, spread / 3, moved.positions.shape)
    positions: Float64Array = moved.positions + drift + own
    half = moved.size[2] / 2
    positions[:, 2] = np.maximum(positions[:, 2], half)
    yaws = np.array([yaw_of(quaternion) for quaternion in moved.quaternions]) + share * rng.normal(0.0, turn)
    wrong = replace(moved, positions=positions, quaternions=yaw_quaternions(yaws))
    return replace(tracks, objects=tuple(wrong if track is moved else track for track in tracks.objects))
