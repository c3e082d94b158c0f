# SPDX-License-Identifier: Apache-2.0
"""The datasets of a run as one: what they are of, whether they fit the model, their episodes in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from physgen_control.errors import UserError
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.frame_codec import FrameCodec
from physgen_policy.training.batches import EpisodeTensors, shown_starts
from physgen_policy.training.latents import dataset_latents, latent_dtype
from physgen_policy.training.run_place import RunPlace
from physgen_policy.training.text_states import TextSource, indistinct

SHOWN_STARTS_WARNING = 0.3


def merge_datasets(datasets: list[Dataset]) -> tuple[Embodiment, NormStats]:
    """Return one embodiment for all datasets (tasks united) and statistics over all their labelled actions, if any.

    Raises:
        UserError: They were not recorded with the same embodiment.
    """
    tasks = sorted({task for d in datasets for task in d.embodiment.tasks})
    merged = [replace(d.embodiment, tasks=tuple(tasks)) for d in datasets]
    if any(embodiment != merged[0] for embodiment in merged):
        raise UserError("the datasets have different embodiments (cameras, image size, action space or rate)")
    shown = np.concatenate([d.actions(i)[d.labels(i)] for d in datasets for i in range(len(d))])
    if not merged[0].acts:
        return merged[0], NormStats.without_actions(shown.shape[1])
    return merged[0], NormStats.fit(shown)


def instructions(datasets: list[Dataset]) -> list[str]:
    """Return every instruction of the datasets, once."""
    return sorted({entry["instruction"] for dataset in datasets for entry in dataset.entries})


def check_instructions(datasets: list[Dataset], text: TextSource, text_len: int) -> None:
    """Check that the model can tell all instructions apart: their tasks would be averaged.

    Args:
        datasets: What it is trained on.
        text: The text encoder, or its states.
        text_len: How many tokens of an instruction the model reads.

    Raises:
        UserError: Two instructions are the same to it.
    """
    if same := indistinct(instructions(datasets), text):
        raise UserError(
            f"the model reads the first {text_len} tokens of an instruction, which are the same "
            f"in {same[0]!r} and {same[1]!r}; give it more with `architecture: {{nova: {{text_len: N}}}}` "
            f"(and text_table_rows: N, at least as many)"
        )


def check_pictures(datasets: list[Dataset], horizon: int) -> None:
    """Check that every chunk has a picture at its start, wherever a window with one begins.

    Raises:
        UserError: A chunk has none.
    """
    for dataset in datasets:
        for every in {dataset.picture_every(index) for index in range(len(dataset))}:
            if horizon % every:
                raise UserError(
                    f"{dataset.folder} has episodes with one picture per {every} control steps, which miss the borders "
                    f"of this model's chunks of {horizon}"
                )


def load_episodes(
    datasets: list[Dataset],
    codec: FrameCodec,
    norm: NormStats,
    cache: Path,
    place: RunPlace,
    imagined_codec: FrameCodec | None = None,
) -> list[EpisodeTensors]:
    """Return all episodes as latents and normalised actions; latents that are not in the cache folder yet get there.

    With imagined_codec they have latents of that one too.
    """
    episodes: list[EpisodeTensors] = []
    for dataset in datasets:
        latents = _latents(dataset, codec, cache, place)
        own = None if imagined_codec is None else _latents(dataset, imagined_codec, cache, place)
        for index, latent in enumerate(latents):
            entry = dataset.entries[index]
            episodes.append(
                EpisodeTensors(
                    latent,
                    norm.normalize(dataset.actions(index)),
                    dataset.labels(index),
                    entry["instruction"],
                    dataset.picture_every(index),
                    None if own is None else own[index],
                )
            )
    return episodes


def _latents(dataset: Dataset, codec: FrameCodec, cache: Path, place: RunPlace) -> list[Tensor]:
    with place.log.stage(f"latents of {dataset.folder.name}", len(dataset)) as bar:
        return dataset_latents(
            dataset,
            codec,
            cache,
            lambda done, _n: bar.update(completed=done),
            latent_dtype(codec, place.autocast_dtype),
        )


def warn_of_starts(episodes: list[EpisodeTensors], horizon: int, place: RunPlace) -> None:
    """Say so where few episodes show what to do at their first picture."""
    if (shown := shown_starts(episodes, horizon)) < SHOWN_STARTS_WARNING:
        place.log.say(
            f"warning: only {shown:.0%} of the episodes show what to do at their first picture, where every "
            "rollout begins; add demonstrations that begin without a push (`collect --start-steps 0`)"
        )
