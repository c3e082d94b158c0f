# SPDX-License-Identifier: Apache-2.0
"""One training run from configuration to checkpoint folder: codec stage, latent cache, policy stage; resumable.

Run folder: config.yaml, run.json (data, environment, changes), start.json (the checkpoint it began with), codec/,
latents-*.safetensors and text-*.safetensors (caches), policy/state.safetensors (resume), checkpoint/ (averaged
weights, ready to deploy), adapter/ (what a low-rank fine-tune changed), samples/ (predicted frames), tensorboard/,
metrics.jsonl.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors.torch import save_file
from torch.utils.tensorboard import SummaryWriter

from physgen_control.errors import UserError
from physgen_control.program.folder_lock import folder_lock
from physgen_control.types import UInt8Image
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.cost.peak import device_peak
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import ModelConfig, load_preset
from physgen_policy.model.frame_codec import AutoencoderKlCodec, FrameCodec, build_frame_codec
from physgen_policy.training.batches import EpisodeTensors, shown_starts
from physgen_policy.training.codec_stage import FramePool, train_codec
from physgen_policy.training.config import TrainConfig
from physgen_policy.training.held_out import episode_position, split_episodes
from physgen_policy.training.latents import dataset_fingerprint, dataset_latents, latent_dtype
from physgen_policy.training.meter import Meter
from physgen_policy.training.networks import Networks, new_networks, started_networks
from physgen_policy.training.policy_stage import PolicyData, PolicyTrainer
from physgen_policy.training.precision import choose_device, choose_precision
from physgen_policy.training.prepared import main_process_prepares
from physgen_policy.training.resume import begin_run, environment_of, plain
from physgen_policy.training.samples import prediction_sample
from physgen_policy.training.start import (
    CLIPPED_WARNING,
    Start,
    clipped_share,
    fitting_start,
    load_start,
    load_start_codec,
)
from physgen_policy.training.text_states import indistinct

MAX_CODEC_FRAMES = 12_000
SHOWN_STARTS_WARNING = 0.3


class TrainingRun:
    """Owns the run folder and its logs; `fit` does the whole job."""

    def __init__(self, config: TrainConfig, *, resume: bool) -> None:
        self.config = config
        self.folder = Path(config.output)
        self.device = choose_device(config.device)
        mixed = choose_precision(config.precision, self.device)
        # The frame path takes no part in every step, so some gradients are absent in some steps.
        absent = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            mixed_precision=mixed, cpu=self.device.type == "cpu", kwargs_handlers=[absent]
        )
        self.is_main = self.accelerator.is_main_process
        if self.is_main and (self.folder / "config.yaml").exists() and not resume:
            raise UserError(
                f"{self.folder} already holds a run; pass --resume to continue it or choose another output"
            )
        self.console = Console(quiet=not self.is_main)
        self.writer: SummaryWriter | None = None
        self.autocast_dtype = torch.bfloat16 if mixed == "bf16" else None
        if config.num_threads > 0:
            torch.set_num_threads(config.num_threads)

    def fit(self) -> Path:
        """Train what is missing and return the checkpoint folder.

        Raises:
            UserError: the data or the start do not fit, the folder belongs to another run or command, the disk is full,
                or training diverged.
        """
        with folder_lock(self.folder) if self.is_main else nullcontext():
            try:
                return self._fit()
            except OSError as error:
                raise UserError(
                    f"{self.folder} cannot be written: {error}; what was finished is kept, --resume goes on with it"
                ) from error
            finally:
                if self.writer is not None:
                    self.writer.close()

    def _fit(self) -> Path:
        datasets = [Dataset(Path(folder)) for folder in self.config.dataset]
        embodiment, fitted = _merge(datasets)
        if self.is_main:
            self._begin(datasets)
        # What one process computes and leaves on disk, the others read.
        with main_process_prepares(self.accelerator, self.folder):
            networks = self._networks(datasets, embodiment, fitted)
            _check_pictures(datasets, networks.config.action.horizon)
            _check_instructions(datasets, networks)
            episodes = self._episodes(datasets, networks.codec.to(self.device), networks.norm)
            self._check_starts(episodes, networks.config.action.horizon)
        positions = [episode_position(d.actions(i)) for d in datasets for i in range(len(d))]
        split = split_episodes(positions, self.config.validation_share, self.config.validation_episodes)
        data = PolicyData(
            train=[episodes[i] for i in split.train],
            validation=[episodes[i] for i in split.validation],
            norm=networks.norm,
        )
        self.console.print(f"{len(data.train)} episodes to train on, {len(data.validation)} to validate with")
        for line in networks.norm.lines():
            self.console.print(line, soft_wrap=True)
        folder = self._policy(networks, data, embodiment)
        self.accelerator.wait_for_everyone()
        return folder

    def _begin(self, datasets: list[Dataset]) -> None:
        """Open the run folder, or refuse to go on in it."""
        environment = environment_of(
            self.device, self.accelerator.num_processes, str(self.accelerator.mixed_precision)
        )
        data = tuple(dataset_fingerprint(dataset) for dataset in datasets)
        for change in begin_run(self.folder, self.config, data, environment):
            self.console.print(f"changed since the run began: {change}", soft_wrap=True)
        self.writer = SummaryWriter(str(self.folder / "tensorboard"))

    def _networks(self, datasets: list[Dataset], embodiment: Embodiment, fitted: NormStats) -> Networks:
        """The networks at step 0."""
        torch.manual_seed(self.config.seed)
        chosen = self.config.architecture
        wanted = None if self.config.model == "checkpoint" else load_preset(self.config.model, chosen)
        start = self._start(wanted, embodiment, fitted, datasets)
        if start is None:
            assert wanted is not None  # TrainConfig refuses "checkpoint" without one
            config, codec = self._codec(wanted, datasets)
            torch.manual_seed(self.config.seed + 1)
            return new_networks(config, codec, fitted)
        if self.config.codec.tune and self.config.policy.init_parts != "fitting":
            config, codec = self._codec(start.config, datasets, start.codec)
            start = replace(start, config=config, codec=codec)
        torch.manual_seed(self.config.seed + 1)
        instructions = _instructions(datasets)
        stage = self.config.policy
        networks = started_networks(start, stage, self.folder, instructions, self.autocast_dtype)
        if networks.adapted:
            count = sum(p.numel() for p in networks.model.parameters() if p.requires_grad)
            lora = networks.config.lora
            self.console.print(f"lora: rank {lora.rank}, alpha {lora.alpha}; {count:,} numbers are trained")
        return networks

    def _start(
        self, wanted: ModelConfig | None, embodiment: Embodiment, fitted: NormStats, datasets: list[Dataset]
    ) -> Start | None:
        """The checkpoint the run begins with, if it was given one; a resumed run insists on the same one."""
        stage = self.config.policy
        if not stage.init_from:
            return None
        if stage.init_parts == "fitting":
            assert wanted is not None  # TrainConfig refuses "checkpoint"
            config, codec = self._codec(wanted, datasets)
            torch.manual_seed(self.config.seed + 1)
            start = fitting_start(stage.init_from, config, codec, embodiment, fitted)
        else:
            parts = stage.init_parts
            start = load_start(stage.init_from, wanted, embodiment, fitted, stage.norm_stats, parts)
        self.console.print(start.said, soft_wrap=True)
        actions = np.concatenate([d.actions(i) for d in datasets for i in range(len(d))])
        kept = start.norm is not fitted
        if kept and (share := clipped_share(start.norm, actions)) > CLIPPED_WARNING:
            self.console.print(
                f"warning: {share:.0%} of the dataset's action numbers lie beyond the checkpoint's statistics and are "
                "clipped; `norm_stats: dataset` fits new ones",
                soft_wrap=True,
            )
        record = self.folder / "start.json"
        if record.is_file():
            sha256 = json.loads(record.read_text())["sha256"]
            if sha256 != start.sha256:
                raise UserError(
                    f"{self.folder} was started from a checkpoint with SHA-256 {sha256[:12]}, but {stage.init_from} "
                    f"now holds {start.sha256[:12]}; bring the old one back or choose another output"
                )
        elif self.is_main:
            values = {"checkpoint": str(start.path), "sha256": start.sha256}
            record.write_text(json.dumps(values) + "\n")
        return start

    def _codec(
        self, config: ModelConfig, datasets: list[Dataset], taken: FrameCodec | None = None
    ) -> tuple[ModelConfig, FrameCodec]:
        """The codec of the run and the architecture with its scale; `taken` is the one of the start."""
        stage, folder = self.config.codec, self.folder / "codec"
        if folder.is_dir():
            return load_start_codec(folder, config)
        if taken is None and stage.init_from:
            config, taken = load_start_codec(stage.init_from, config)
            if not stage.tune:
                return config, taken
        codec = build_frame_codec(config) if taken is None else taken.requires_grad_(True)
        if not isinstance(codec, AutoencoderKlCodec):
            raise UserError(
                f"preset {self.config.model!r} uses the published video VAE; import it first and pass codec.init_from"
            )
        rng = np.random.default_rng(self.config.seed)
        self.console.print(f"codec: reading frames of {len(datasets)} dataset(s)")
        pool = FramePool(datasets, MAX_CODEC_FRAMES, rng)
        with self._progress("codec", self.config.codec.steps) as (bar, task):

            def report(step: int, values: dict[str, float]) -> None:
                bar.update(task, completed=step, info=f"L1 {values['reconstruction']:.4f}")
                if step % self.config.log_every == 0:
                    self._log("codec", step, values)

            scale = train_codec(
                codec.vae,
                pool,
                self.config.codec,
                seed=self.config.seed,
                device=self.device,
                autocast_dtype=self.autocast_dtype,
                progress=report,
            )
        if taken is not None and not self.config.codec.whiten:
            scale = config.vae.scaling_factor  # what follows the codec is used to it
        _save_codec(codec, scale, folder)
        return load_start_codec(folder, config)

    def _episodes(self, datasets: list[Dataset], codec: FrameCodec, norm: NormStats) -> list[EpisodeTensors]:
        episodes: list[EpisodeTensors] = []
        cache = Path(self.config.cache or self.folder)
        for dataset in datasets:
            with self._progress(f"latents of {dataset.folder.name}", len(dataset)) as (bar, task):
                latents = dataset_latents(
                    dataset,
                    codec,
                    cache,
                    lambda done, _n: bar.update(task, completed=done),
                    latent_dtype(codec, self.autocast_dtype),
                )
            for index, latent in enumerate(latents):
                actions = norm.normalize(dataset.actions(index))
                instruction, every = dataset.entries[index]["instruction"], dataset.picture_every(index)
                episodes.append(EpisodeTensors(latent, actions, dataset.labels(index), instruction, every))
        return episodes

    def _check_starts(self, episodes: list[EpisodeTensors], horizon: int) -> None:
        if (shown := shown_starts(episodes, horizon)) < SHOWN_STARTS_WARNING:
            self.console.print(
                f"warning: only {shown:.0%} of the episodes show what to do at their first picture, where every "
                "rollout begins; add demonstrations that begin without a push (`collect --start-steps 0`)",
                soft_wrap=True,
            )

    def _policy(self, networks: Networks, data: PolicyData, embodiment: Embodiment) -> Path:
        stage = self.config.policy
        networks.model.nova.recompute_blocks(stage.recompute_blocks)
        trainer = PolicyTrainer(
            networks.model,
            networks.text,
            networks.config,
            data,
            stage,
            seed=self.config.seed,
            accelerator=self.accelerator,
            autocast_always=networks.adapted and self.autocast_dtype is not None,
        )
        if (self.folder / "policy" / "state.safetensors").is_file():
            trainer.load_state(self.folder / "policy")
            self.console.print(f"policy: resumed at step {trainer.step}")
        latest: dict[str, float] = {}
        peak = device_peak(self.device, self.autocast_dtype or torch.float32)
        self.console.print(f"MFU is of {peak.flops_per_s / 1e12:.3g} TFLOP/s: {peak.source}")
        meter = Meter(self.device, peak)
        with self._progress("policy", stage.steps, trainer.step) as (bar, task):
            while trainer.step < stage.steps:
                values = trainer.train_step()
                step = trainer.step
                speed = meter.tick(values["flops"], values["windows"])
                losses = f"action {values['action']:.4f} frame {values['observation']:.4f}"
                bar.update(task, completed=step, info=f"{losses} {meter.text()}")
                if step % self.config.log_every == 0:
                    self._log("policy", step, values | speed)
                if not self.is_main:
                    continue
                last = step == stage.steps
                if step % self.config.validate_every == 0 or last:
                    latest = trainer.validate()
                    self._log("validation", step, latest)
                    errors = ", ".join(f"{k} {v:.4f}" for k, v in latest.items())
                    self.console.print(f"step {step}: {errors or losses}; {meter.text()}")
                    if latest.get("instruction_effect") == 0.0:
                        self.console.print(
                            "warning: another instruction changes nothing; the policy acts by the pictures alone"
                        )
                if step % self.config.save_every == 0 or last:
                    trainer.save_state(self.folder / "policy")
                    self._save(trainer, networks, embodiment, latest, last=last)
        folder = self.folder / "checkpoint"
        if self.is_main and not folder.is_dir():
            self._save(trainer, networks, embodiment, latest, last=True)
        return folder

    def _save(
        self,
        trainer: PolicyTrainer,
        networks: Networks,
        embodiment: Embodiment,
        metrics: dict[str, float],
        *,
        last: bool,
    ) -> None:
        training = {
            "config": plain(self.config.to_dict()),
            "step": trainer.step,
            "validation": metrics,
            "episodes": len(trainer.data.train),
        }
        with trainer.averaged_weights(), trainer.evaluation_autocast():
            networks.save(
                self.folder, embodiment, getattr(torch, self.config.store_dtype), training, last=last
            )
            if trainer.data.validation:
                sample = prediction_sample(
                    networks.model,
                    networks.text,
                    networks.codec,
                    trainer.data.validation[0],
                    networks.config,
                )
                self._show("prediction", trainer.step, sample)

    def _progress(self, label: str, total: int, completed: int = 0) -> _Bar:
        return _Bar(self.console, label, total, completed)

    def _log(self, stage: str, step: int, values: dict[str, float]) -> None:
        if self.writer is None:
            return
        for key, value in values.items():
            self.writer.add_scalar(f"{stage}/{key}", value, step)
        with (self.folder / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")

    def _show(self, name: str, step: int, image: UInt8Image) -> None:
        """A picture of the run, uint8 [y, x, 3]: samples/ and TensorBoard."""
        path = self.folder / "samples" / f"step_{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(path, image)
        if self.writer is not None:
            self.writer.add_image(name, image, step, dataformats="HWC")


class _Bar:
    """A progress bar that yields (progress, task); plain lines take its place where there is no terminal."""

    def __init__(self, console: Console, label: str, total: int, completed: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[info]}"),
            console=console,
        )
        self.arguments = (label, total, completed)

    def __enter__(self) -> tuple[Progress, Any]:
        self.progress.start()
        label, total, completed = self.arguments
        return self.progress, self.progress.add_task(label, total=total, completed=completed, info="")

    def __exit__(self, *_exception: object) -> None:
        self.progress.stop()


def _save_codec(codec: FrameCodec, scale: float, folder: Path) -> None:
    """Write a trained codec; the folder is complete or not there."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.cpu().contiguous() for key, value in codec.state_dict().items()}
    save_file(tensors, partial / "codec.safetensors")
    (partial / "codec.json").write_text(json.dumps({"scaling_factor": scale}) + "\n")
    partial.rename(folder)


def _merge(datasets: list[Dataset]) -> tuple[Embodiment, NormStats]:
    """One embodiment for all datasets (tasks united) and statistics over all their labelled actions."""
    tasks = sorted({task for d in datasets for task in d.embodiment.tasks})
    merged = [replace(d.embodiment, tasks=tuple(tasks)) for d in datasets]
    if any(embodiment != merged[0] for embodiment in merged):
        raise UserError("the datasets have different embodiments (cameras, image size, action space or rate)")
    shown = [d.actions(i)[d.labels(i)] for d in datasets for i in range(len(d))]
    return merged[0], NormStats.fit(np.concatenate(shown))


def _instructions(datasets: list[Dataset]) -> list[str]:
    return sorted({entry["instruction"] for dataset in datasets for entry in dataset.entries})


def _check_instructions(datasets: list[Dataset], networks: Networks) -> None:
    """Tasks that the model could not tell apart would be averaged."""
    if same := indistinct(_instructions(datasets), networks.text):
        raise UserError(
            f"the model reads the first {networks.config.nova.text_len} tokens of an instruction, which are the same "
            f"in {same[0]!r} and {same[1]!r}; give it more with `architecture: {{nova: {{text_len: N}}}}` "
            f"(and text_table_rows: N, at least as many)"
        )


def _check_pictures(datasets: list[Dataset], horizon: int) -> None:
    """Every chunk must have a picture at its start, wherever a window with one begins."""
    for dataset in datasets:
        for every in {dataset.picture_every(index) for index in range(len(dataset))}:
            if horizon % every:
                raise UserError(
                    f"{dataset.folder} has episodes with one picture per {every} control steps, which miss the borders "
                    f"of this model's chunks of {horizon}"
                )
