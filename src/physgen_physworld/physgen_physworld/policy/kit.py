# SPDX-License-Identifier: Apache-2.0
"""What PhysWorld needs to act at a table: its camera, where its videos come from, and how to follow them.

A kit is a folder: `kit.json`, `camera.yaml`, the video model in `generator/`, perhaps `residual.safetensors`. A run's
folder serves as well, for the scene of its video.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from physgen_control.errors import UserError
from physgen_control.program.plain_values import read_json_object
from physgen_control.types import UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.execution.episode import Following, Policy
from physgen_physworld.execution.residual_policy import ResidualPolicy
from physgen_physworld.pipeline.reconstruct_step import load_situation
from physgen_physworld.pipeline.train_step import RESIDUAL, train_step
from physgen_physworld.pipeline.video_step import real_camera, video_step
from physgen_physworld.plan.base import GoalFollower
from physgen_physworld.plan.choice import choose_video
from physgen_physworld.plan.goals import Goals, make_goals
from physgen_physworld.plan.settle import settled
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.residual.network import load_residual
from physgen_physworld.scene.scene import Scene, build_scene
from physgen_physworld.video.camera_file import camera_text, read_camera
from physgen_physworld.video.generated import VideoGenerator, find_generator

How = Literal["residual", "base", "naive"]
KIT, CAMERA, GENERATOR = "kit.json", "camera.yaml", "generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedScene:
    """What a video asks for, and the scene that it begins in."""

    goals: Goals
    scene: Scene


class Kit(Protocol):
    """Where an episode's video comes from, and who follows it."""

    camera: Camera

    def situation(self, picture: UInt8Image, camera: Camera, instruction: str) -> FollowedScene:
        """Return what to follow from an episode's first picture on.

        Raises:
            UserError: there is no video that could be followed.
        """
        ...

    def policy(self, goals: Goals) -> Policy:
        """Return who follows the goals."""
        ...


class RunKit:
    """The video of a run's folder: for the scene that it begins in."""

    def __init__(self, folder: Path) -> None:
        self.camera = real_camera(folder)
        _, goals, scene = load_situation(folder)
        self._scene = FollowedScene(goals=settled(goals, scene), scene=scene)
        residual = train_step(folder).file(RESIDUAL)
        self._residual = load_residual(residual) if residual.is_file() else None

    def situation(self, picture: UInt8Image, camera: Camera, instruction: str) -> FollowedScene:
        """Return the run's."""
        del picture, camera, instruction
        return self._scene

    def policy(self, goals: Goals) -> Policy:
        """Return the base with the run's residual, or alone where none was trained."""
        if self._residual is None:
            return Following(GoalFollower(goals, "base"))
        return ResidualPolicy(goals, self._residual)


class GeneratorKit:
    """A video model: for every scene that the camera sees."""

    def __init__(self, folder: Path) -> None:
        values = read_json_object(folder / KIT, UserError)
        if values.get("how") not in ("residual", "base", "naive"):
            raise UserError(f"{folder / KIT} says how: {values.get('how')!r}; it is residual, base or naive.")
        self._how: How = values["how"]
        self.camera = read_camera(folder / CAMERA)
        self._generator = VideoGenerator(folder / GENERATOR)
        self._residual = load_residual(folder / RESIDUAL) if self._how == "residual" else None

    def situation(self, picture: UInt8Image, camera: Camera, instruction: str) -> FollowedScene:
        """Generate videos until one can be followed."""
        videos = self._generator.videos(picture, camera, instruction)
        tracks = choose_video(videos, things_named(instruction), PlaneDepth()).tracks
        goals, scene = make_goals(tracks), build_scene(tracks)
        return FollowedScene(goals=goals if self._how == "naive" else settled(goals, scene), scene=scene)

    def policy(self, goals: Goals) -> Policy:
        """Return who follows the goals, as the kit says."""
        if self._residual is not None:
            return ResidualPolicy(goals, self._residual)
        return Following(GoalFollower(goals, "naive" if self._how == "naive" else "base"))


def open_kit(folder: Path) -> Kit:
    """Return the kit of a folder.

    Raises:
        UserError: it is neither a kit nor a run, or something in it cannot be read.
    """
    if (folder / KIT).is_file():
        return GeneratorKit(folder)
    if video_step(folder).record() is not None:
        return RunKit(folder)
    raise UserError(
        f"{folder} is neither a run of `physgen physworld` nor a kit: make one with `physgen physworld kit {folder}`."
    )


def write_kit(folder: Path, camera: Camera, generator: Path, how: How, residual: Path | None) -> None:
    """Write a kit that needs no other folder.

    Raises:
        UserError: the folder holds something else, or what it is made of cannot be read.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / KIT).is_file():
        raise UserError(f"{folder} holds other things: name an empty folder for the kit.")
    VideoGenerator(generator)  # is it one?
    generator = find_generator(generator)
    if residual is not None:
        load_residual(residual)
    elif how == "residual":
        raise UserError("A kit that corrects needs its residual: add --residual FILE, or choose --how base.")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(generator, folder / GENERATOR, dirs_exist_ok=True)
    if residual is not None:
        shutil.copyfile(residual, folder / RESIDUAL)
    (folder / CAMERA).write_text(camera_text(camera), encoding="utf-8")
    (folder / KIT).write_text(json.dumps({"how": how}) + "\n", encoding="utf-8")
