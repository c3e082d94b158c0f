# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint's frames are worth: the next one with real history, and open-loop roll-outs from one picture.

Beside two references: what the codec makes of the true frame, which no prediction can beat by much, and the present
frame, which predicts that nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, UInt8Image
from physgen_policy.bench.image_quality import LEAST_MOVING_PIXELS, moving_pixels, psnr, ssim
from physgen_policy.bench.tracking import TRACKED, Tracked, track_error
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import ModelConfig
from physgen_policy.runtime.imagination import Imagination
from physgen_policy.sampling.frame import FrameSampler
from physgen_policy.training.held_out import position_in, split_episodes

FORMAT = 1


@dataclass(frozen=True, slots=True)
class FilmedEpisode:
    """An episode cut into chunks."""

    pictures: list[UInt8Image]
    """One before every chunk and one after the last, uint8 [y, 2 x, 3]."""
    chunks: list[Float32Array]
    """float32 [8, a] each, SI units."""
    instruction: str
    task: str


@dataclass(slots=True)
class Scores:
    """One kind of frame against the true ones, added up over frames."""

    things: Sequence[Tracked]
    """What is tracked."""
    values: dict[str, list[float]] = field(default_factory=dict)
    """PSNR and SSIM of every frame."""
    tracks: dict[str, list[float]] = field(default_factory=dict)
    """Distances of every thing, by its name [pixels]."""

    def add(self, image: UInt8Image, truth: UInt8Image, before: UInt8Image) -> None:
        """Compare a frame with the true one, uint8 [y, 2 x, 3] each; what moves is what differs from `before`."""
        half = truth.shape[1] // 2
        moving = moving_pixels(before, truth)
        found = {
            "psnr": psnr(image, truth),
            "ssim": ssim(image, truth),
            "psnr_fixed": psnr(image[:, :half], truth[:, :half]),
            "psnr_wrist": psnr(image[:, half:], truth[:, half:]),
        }
        if moving.sum() > LEAST_MOVING_PIXELS:
            found["psnr_moving"] = psnr(image, truth, moving)
        for key, value in found.items():
            self.values.setdefault(key, []).append(value)
        for thing in self.things:
            if (error := track_error(thing, image, truth)) is not None:
                self.tracks.setdefault(thing.name, []).append(error)

    def result(self) -> dict[str, object]:
        """Return means, and per thing its mean and median distance where it was found and how often it was not."""
        means: dict[str, object] = {key: float(np.mean(values)) for key, values in self.values.items()}
        means["frames"] = len(self.values.get("psnr", []))
        means["track_px"] = {name: _track_result(errors) for name, errors in self.tracks.items()}
        return means


def _track_result(errors: list[float]) -> dict[str, float | int | None]:
    seen = [error for error in errors if np.isfinite(error)]
    return {
        "mean": float(np.mean(seen)) if seen else None,
        "median": float(np.median(seen)) if seen else None,
        "frames": len(errors),
        "not_found": len(errors) - len(seen),
    }


@dataclass(frozen=True, slots=True)
class Examples:
    """Frames to look at."""

    next_frame: list[tuple[UInt8Image, UInt8Image, UInt8Image]]
    """(true, codec, predicted) each."""
    rollout: list[tuple[list[UInt8Image], list[UInt8Image]]]
    """(true frames, predicted frames) per episode."""


def settings(config: ModelConfig) -> list[FrameSampler]:
    """Return the samplers that are compared; the first is the preview's and gives the result's main figures."""
    sampled = [FrameSampler(temperature=0.5), FrameSampler()]
    return [FrameSampler(kind="mean"), *sampled] if config.frames.prediction == "v" else sampled[::-1]


def filmed_episodes(
    dataset: Dataset, horizon: int, *, count: int, share: float, every_episode: bool = False
) -> list[FilmedEpisode]:
    """Return episodes with at least one whole chunk.

    Args:
        dataset: Where they are from.
        horizon: Actions per chunk.
        count: At most so many, 0 for all.
        share: Of the episodes is held out from training, as the training configuration says (`validation_share`).
        every_episode: All episodes instead of the held-out ones, for a dataset that nobody was trained on.

    Raises:
        UserError: There is none, or its pictures miss the borders of chunks.
    """
    positions = [position_in(dataset, index) for index in range(len(dataset))]
    chosen = list(range(len(dataset)))
    if not every_episode:
        chosen = split_episodes(positions, share, len(dataset)).validation
    films = []
    for index in chosen:
        every, actions = dataset.picture_every(index), dataset.actions(index)
        if horizon % every:
            raise UserError(
                f"{dataset.folder} has a picture per {every} control steps, which misses the borders of chunks of "
                f"{horizon}"
            )
        if len(actions) < horizon:
            continue
        images, entry = dataset.images(index), dataset.entries[index]
        chunks = [actions[step : step + horizon] for step in range(0, len(actions) - horizon + 1, horizon)]
        pictures = [images[n * horizon // every] for n in range(len(chunks) + 1)]
        films.append(FilmedEpisode(pictures, chunks, entry["instruction"], entry["task"]))
        if count and len(films) == count:
            break
    if not films:
        raise UserError(
            f"{dataset.folder} has no held-out episode of at least {horizon} steps; give one with more episodes, or "
            "--all-episodes for a dataset that the checkpoint was not trained on"
        )
    return films


def measure(
    checkpoint: Checkpoint,
    films: Sequence[FilmedEpisode],
    *,
    rollout: int,
    samplers: Sequence[FrameSampler],
    say: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, object], Examples]:
    """Return all numbers as plain values, and frames of the first sampler.

    Args:
        checkpoint: What imagines.
        films: What really happened.
        rollout: Frames of the open-loop roll-outs.
        samplers: How frames are made.
        say: Told what is being measured.
    """
    things = _things(films)
    say("codec and copies")
    codec, copy = Scores(things), Scores(things)
    coded: list[list[UInt8Image]] = []
    for film in films:
        decoded = _through_codec(checkpoint, film.pictures[1:])
        coded.append(decoded)
        for n, picture in enumerate(decoded):
            truth, before = film.pictures[n + 1], film.pictures[n]
            codec.add(picture, truth, before)
            copy.add(before, truth, before)
    rows: list[dict[str, object]] = []
    examples: Examples | None = None
    for sampler in samplers:
        say(f"next frames, {sampler.label}")
        imagination = Imagination(checkpoint, sampler)
        predicted, seconds = Scores(things), []
        shown = []
        for number, film in enumerate(films):
            for n, (image, took) in enumerate(_next_frames(imagination, film, seed=number)):
                predicted.add(image, film.pictures[n + 1], film.pictures[n])
                seconds.append(took)
                shown.append((film.pictures[n + 1], coded[number][n], image))
        say(f"roll-outs, {sampler.label}")
        ahead, films_shown = _rollouts(imagination, films, rollout, things, own=False)
        row: dict[str, object] = {
            "sampler": sampler.label,
            "next_frame": predicted.result(),
            "rollout": ahead,
            "seconds_per_frame": float(np.median(seconds)),
        }
        rows.append(row)
        if examples is None:
            row["rollout_own_actions"], _ = _rollouts(imagination, films, rollout, things, own=True)
            picked = np.linspace(0, len(shown) - 1, min(6, len(shown))).astype(int)
            examples = Examples([shown[i] for i in picked], films_shown)
    assert examples is not None, "at least one sampler has to be given"
    first = rows[0]
    result: dict[str, object] = {
        "format": FORMAT,
        "checkpoint": checkpoint.policy_id,
        "episodes": len(films),
        "sampler": first["sampler"],
        "next_frame": {"predicted": first["next_frame"], "codec": codec.result(), "copy": copy.result()},
        "rollout": first["rollout"],
        "rollout_own_actions": first["rollout_own_actions"],
        "rollout_still": _still(films, rollout, things),
        "seconds_per_frame": first["seconds_per_frame"],
        "samplers": rows,
        "threads": torch.get_num_threads(),
    }
    return result, examples


def _things(films: Iterable[FilmedEpisode]) -> tuple[Tracked, ...]:
    """Return what is tracked in all of these episodes; a dataset of several tasks has only what they share."""
    named = [TRACKED.get(task, ()) for task in sorted({film.task for film in films})]
    return tuple(thing for thing in named[0] if all(thing in others for others in named))


@torch.inference_mode()
def _through_codec(checkpoint: Checkpoint, pictures: Sequence[UInt8Image]) -> list[UInt8Image]:
    codec = checkpoint.imagined_codec
    device = next(codec.parameters()).device
    return [
        codec.decode(codec.encode(torch.from_numpy(np.ascontiguousarray(p))[None].to(device)))[0]
        .cpu()
        .numpy()
        for p in pictures
    ]


def _next_frames(
    imagination: Imagination, film: FilmedEpisode, seed: int
) -> Iterable[tuple[UInt8Image, float]]:
    """Yield every frame but the first, predicted from the true ones before it, and the seconds that it took."""
    imagination.begin(film.pictures[0], film.instruction, seed)
    for n, chunk in enumerate(film.chunks):
        frame = imagination.step(chunk)
        imagination.correct(film.pictures[n + 1])
        yield frame.image, frame.seconds


def _rollouts(
    imagination: Imagination,
    films: Sequence[FilmedEpisode],
    frames: int,
    things: Sequence[Tracked],
    *,
    own: bool,
) -> tuple[list[dict[str, object]], list[tuple[list[UInt8Image], list[UInt8Image]]]]:
    """Return scores per frame ahead, 1 first, and the frames of three episodes; `own`: the policy's actions instead."""
    scores = [Scores(things) for _ in range(frames)]
    shown = []
    for number, film in enumerate(films):
        imagination.begin(film.pictures[0], film.instruction, number)
        imagined = [film.pictures[0]]
        for n, chunk in enumerate(film.chunks[:frames]):
            imagined.append(imagination.step(None if own else chunk).image)
            scores[n].add(imagined[-1], film.pictures[n + 1], film.pictures[0])
        shown.append((film.pictures[: len(imagined)], imagined))
    longest = sorted(shown, key=lambda pair: -len(pair[0]))[:3]
    return [s.result() for s in scores if s.values], longest


def _still(films: Sequence[FilmedEpisode], frames: int, things: Sequence[Tracked]) -> list[dict[str, object]]:
    """Return what a roll-out in which nothing moves would score."""
    scores = [Scores(things) for _ in range(frames)]
    for film in films:
        for n, truth in enumerate(film.pictures[1 : frames + 1]):
            scores[n].add(film.pictures[0], truth, film.pictures[0])
    return [s.result() for s in scores if s.values]
