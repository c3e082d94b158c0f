# SPDX-License-Identifier: Apache-2.0
"""One training run from configuration to checkpoint folder: codec stage, latent cache, policy stage; resumable.

Run folder: config.yaml, run.json (data, environment, changes), start.json (the checkpoint it began with), codec/,
latents-*.safetensors and text-*.safetensors (caches), policy/state.safetensors (resume), checkpoint/ (averaged
weights, ready to deploy), adapter/ (what a low-rank fine-tune changed), samples/ (predicted frames), tensorboard/,
metrics.jsonl.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from physgen_control.errors import UserError
from physgen_control.program.folder_lock import folder_lock
from physgen_control.program.progress import Progress
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.cost.peak import device_peak
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import ModelConfig, load_preset
from physgen_policy.training.batches import all_shown
from physgen_policy.training.config import TrainConfig
from physgen_policy.training.first_networks import first_networks
from physgen_policy.training.held_out import position_in, split_episodes
from physgen_policy.training.latents import dataset_fingerprint
from physgen_policy.training.meter import Meter
from physgen_policy.training.networks import Networks
from physgen_policy.training.policy_stage import PolicyData, PolicyTrainer
from physgen_policy.training.precision import choose_device, choose_precision
from physgen_policy.training.prepared import main_process_prepares
from physgen_policy.training.resume import begin_run, environment_of, plain
from physgen_policy.training.run_data import (
    check_instructions,
    check_pictures,
    load_episodes,
    merge_datasets,
    warn_of_starts,
)
from physgen_policy.training.run_frames import run_frames
from physgen_policy.training.run_log import RunLog
from physgen_policy.training.run_place import RunPlace
from physgen_policy.training.samples import prediction_sample


class TrainingRun:
    """Owns the run folder and its log; `fit` does the whole job."""

    def __init__(self, config: TrainConfig, *, resume: bool, progress: Progress | None = None) -> None:
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
        self.log = RunLog(self.folder, progress or Progress(quiet=not self.is_main))
        self.autocast_dtype = torch.bfloat16 if mixed == "bf16" else None
        if config.num_threads > 0:
            torch.set_num_threads(config.num_threads)

    def fit(self) -> Path:
        """Train what is missing and return the checkpoint folder.

        Raises:
            UserError: The data or the start do not fit, the folder belongs to another run or command, the disk is full,
                or training diverged.
        """
        with (
            folder_lock(self.folder) if self.is_main else nullcontext(),
            self.log.stage(f"training {self.config.name}"),
        ):
            try:
                return self._fit()
            except OSError as error:
                raise UserError(
                    f"{self.folder} cannot be written: {error}; what was finished is kept, --resume goes on with it"
                ) from error
            finally:
                self.log.close()

    def _fit(self) -> Path:
        datasets = [Dataset(Path(folder)) for folder in self.config.dataset]
        embodiment, fitted = merge_datasets(datasets)
        if not embodiment.acts and self.config.policy.objective != "video" and self.config.policy.steps:
            raise UserError(
                "the datasets are clips without actions, from which nothing but `policy.objective: video` can learn"
            )
        place = RunPlace(
            folder=self.folder,
            device=self.device,
            autocast_dtype=self.autocast_dtype,
            is_main=self.is_main,
            log=self.log,
        )
        if self.is_main:
            self._begin(datasets)
        # What one process computes and leaves on disk, the others read.
        with main_process_prepares(self.accelerator, self.folder):
            networks = first_networks(self.config, place, self._wanted(), datasets, embodiment, fitted)
            horizon, text_len = networks.config.action.horizon, networks.config.nova.text_len
            check_pictures(datasets, horizon)
            check_instructions(datasets, networks.text, text_len)
            cache = Path(self.config.cache or self.folder)
            own = networks.own_imagined_codec
            episodes = load_episodes(
                datasets,
                networks.codec.to(self.device),
                networks.norm,
                cache,
                place,
                None if own is None else own.to(self.device),
            )
            if self.config.policy.objective == "video":
                episodes = [all_shown(episode) for episode in episodes]
            warn_of_starts(episodes, horizon, place)
        positions = [position_in(d, i) for d in datasets for i in range(len(d))]
        split = split_episodes(positions, self.config.validation_share, self.config.validation_episodes)
        data = PolicyData(
            train=[episodes[i] for i in split.train],
            validation=[episodes[i] for i in split.validation],
            norm=networks.norm,
        )
        self.log.say(f"{len(data.train)} episodes to train on, {len(data.validation)} to validate with")
        for line in networks.norm.lines():
            self.log.say(line)
        if self.config.policy.objective == "frames":
            folder = run_frames(self.config, place, networks, data, embodiment)
        else:
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
            self.log.say(f"changed since the run began: {change}")
        self.log.open(self.config.name, self.config.track, asdict(self.config))

    def _wanted(self) -> ModelConfig | None:
        """Return the architecture that the configuration names; None is the start's."""
        if self.config.model == "checkpoint":
            return None
        return load_preset(self.config.model, self.config.architecture)

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
            self.log.say(f"policy: resumed at step {trainer.step}")
        latest: dict[str, float] = {}
        peak = device_peak(self.device, self.autocast_dtype or torch.float32)
        self.log.say(f"MFU is of {peak.flops_per_s / 1e12:.3g} TFLOP/s: {peak.source}")
        meter = Meter(self.device, peak)
        with self.log.stage("policy", stage.steps, trainer.step) as bar:
            while trainer.step < stage.steps:
                values = trainer.train_step()
                step = trainer.step
                speed = meter.tick(values["flops"], values["windows"])
                losses = f"action {values['action']:.4f} frame {values['observation']:.4f}"
                bar.update(completed=step, info=f"{losses} {meter.text()}")
                if step % self.config.log_every == 0:
                    self.log.numbers("policy", step, values | speed)
                if not self.is_main:
                    continue
                last = step == stage.steps
                if step % self.config.validate_every == 0 or last:
                    with self.log.stage(f"validation at step {step}"):
                        latest = trainer.validate()
                    self.log.numbers("validation", step, latest)
                    errors = ", ".join(f"{k} {v:.4f}" for k, v in latest.items())
                    self.log.say(f"step {step}: {errors or losses}; {meter.text()}")
                    if latest.get("instruction_effect") == 0.0:
                        self.log.say(
                            "warning: another instruction changes nothing; the policy acts by the pictures alone"
                        )
                if step % self.config.save_every == 0 or last:
                    with self.log.stage(f"saving at step {step}"):
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
                    networks.imagined_codec,
                    trainer.data.validation[0],
                    networks.config,
                    acts=self.config.policy.objective != "video",
                )
                self.log.picture("prediction", trainer.step, sample)
