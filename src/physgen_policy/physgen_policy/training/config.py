# SPDX-License-Identifier: Apache-2.0
"""Training configuration: plain YAML -> frozen dataclasses; unknown keys are refused. Saved with every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from physgen_control.errors import UserError
from physgen_control.program.plain_values import build, convert, read_yaml_mapping, shown

NormSource = Literal["checkpoint", "dataset"]
Tuning = Literal["full", "lora"]
InitParts = Literal["all", "video", "fitting"]
FrameTarget = Literal["denoised", "mean"]
Objective = Literal["joint", "video", "frames"]


class TrainConfigError(UserError):
    """A training configuration is wrong; the message names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecStage:
    """Training of the frame codec (only presets whose codec is not downloaded)."""

    steps: int = 1500
    """Steps of the optimiser."""
    batch_size: int = 16
    """Images per step."""
    learning_rate: float = 2e-3
    """Peak rate of AdamW; it falls along a cosine."""

    # What is learned.
    kl_weight: float = 1e-4
    """Weight of the KL term per latent number."""
    edge_weight: float = 1.0
    """Weight of the L1 term of the image gradient."""
    squared_weight: float = 0.0
    """Weight of the squared error, so that small things of a strong colour count more than faint texture."""
    readout_weight: float = 0.0
    """Weight of a linear map from each latent to its cell's colours, trained along, thrown away (docs/training.md)."""
    whiten: bool = False
    """Give latents zero mean, unit variance and no correlation, by a change of basis inside the autoencoder."""

    # What is shown.
    crop: int = 64
    """Side of random training crops [pixels], which cost less and show as much; 0 = whole frames."""
    whole_fraction: float = 0.2
    """Share of steps at the end on whole frames, with a quarter of the batch."""

    # Where it starts.
    init_from: str = ""
    """Codec folder of a run, or a checkpoint, whose codec is taken; with policy.objective frames the one in which they
    are imagined (frames.codec). Every other run with policy.init_from has that one's."""
    tune: bool = False
    """Train the codec that the run starts from further, on its frames, so that it learns to show new objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStage:
    """Training of the transformer and both heads."""

    # Length and batch.
    steps: int = 6000
    """Steps of the optimiser."""
    batch_size: int = 32
    """Windows per step over all processes together."""
    single_batch_size: int = 0
    """In a share of single_fraction of the steps, train on so many windows of one pack instead, without frame loss; 0 =
    none. They show many scenes for the price of few long windows, which hold neighbouring pictures of the same scene,
    and so a network without pretraining learns sooner to see."""
    single_fraction: float = 0.5
    """See single_batch_size."""
    aligned_fraction: float = 0.3
    """Share of windows that start where the episode's demonstration starts."""

    # Optimiser.
    learning_rate: float = 1e-3
    """Peak rate; reached after warmup_steps, falls along a cosine to min_learning_rate at `steps`."""
    min_learning_rate: float = 1e-5
    """Rate of the last step."""
    muon_learning_rate: float = 0.0
    """Peak rate of Muon, which then trains the matrices within blocks while AdamW trains the rest; falls in proportion.
    0 = AdamW alone; 0.02 is a good start for a model from scratch."""
    warmup_steps: int = 200
    """Steps of the rise from 0."""
    weight_decay: float = 0.02
    """Of matrices; vectors have none."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient."""
    ema_decay: float = 0.999
    """Of the running average of the weights, which is what a checkpoint holds."""

    # Losses.
    objective: Objective = "joint"
    """"joint", or "video": the frame loss alone, on packs whose actions are hidden, so that recordings teach how things
    move whatever their actions mean; what it saves is a start for a policy, not one; or "frames": only what imagines
    frames is trained, on stored hidden states of init_from, which acts as before, bit for bit. A step is then of
    batch_size pairs of a pack and its next frame, and `architecture` may change the frame path."""
    obs_loss_weight: float = 1.0
    """Weight of L_obs, the frame loss, against L_act."""
    obs_loss_every: int = 1
    """Steps from one L_obs to the next (it costs most)."""
    obs_loss_frames: int = 1
    """Random frames per window that L_obs is taken of."""
    obs_loss_of: FrameTarget = "denoised"
    """"denoised": the frame loss at random noise, of which samples are made; or "mean": the squared error of the mean
    frame alone, where samples are not wanted, for a third of the work (needs frames.prediction v)."""
    waypoint_weight: float = 0.0
    """Weight of the auxiliary regression of future displacements (training/waypoints.py); 0 leaves it out."""
    latent_noise: float = 0.0
    """Standard deviation of Gaussian noise on the input latents [latent units]."""

    # Where it starts.
    init_from: str = ""
    """Checkpoint (folder or shipped name) whose networks, codec included, are the start; empty = new weights."""
    init_parts: InitParts = "all"
    """"all"; "video": everything but the action tokenizer and head, which are new and may have other sizes; "fitting":
    every tensor that has the same name and size here, so that codec and architecture may be others."""
    norm_stats: NormSource = "checkpoint"
    """Whose action statistics a run with init_from uses. "checkpoint" keeps the units the networks learned; "dataset"
    fits them anew, for data whose actions mean something else."""

    # What is tuned, and at what price.
    tuning: Tuning = "full"
    """"full" trains every network weight; "lora" adds low-rank adapters to the video encoder of init_from and trains
    them and the action parts, all else stays as it was."""
    lora_rank: int = 0
    """0 = the model's, or 16."""
    lora_alpha: int = 0
    """0 = the model's, or twice the rank."""
    lora_targets: str = ""
    """Regular expression of the layers that get adapters; empty = the model's."""
    train_text_encoder: bool = True
    """Whether full tuning includes it; a pretrained language model should stay as it is, and is then needed only once
    per instruction."""
    recompute_blocks: bool = False
    """Gradient checkpointing of both encoders: less memory for a third more work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run."""

    # What is trained, on what, and where it goes.
    name: str
    """Of the run, and of the checkpoint that it makes."""
    model: str
    """Preset name, or "checkpoint" for the architecture of policy.init_from."""
    dataset: tuple[str, ...]
    """Folders made by `convert`."""
    output: str
    """Run folder: checkpoints and logs."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """Nested keys of the model that differ from the preset's."""
    cache: str = ""
    """Folder for latents, so that runs on the same data with the same codec share them; empty = the run folder."""

    # The machine.
    seed: int = 0
    """Of every random number of the run."""
    device: str = "auto"
    """"cpu", "cuda", or "auto": a GPU where there is one."""
    num_threads: int = 0
    """PyTorch's threads in each process; 0 = its own choice."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto" = bf16 where the processor or GPU multiplies bf16 matrices fast, else fp32."""
    store_dtype: Literal["float32", "float16", "bfloat16"] = "float16"
    """Of the weights in the checkpoint."""

    # What is looked at on the way; in steps.
    validation_share: float = 0.05
    """Share of episodes that is never trained on, chosen by the episode alone."""
    validation_episodes: int = 16
    """How many of those are looked at; 0: none is held out."""
    validate_every: int = 500
    """Steps from one look at the held-out episodes to the next."""
    save_every: int = 500
    """Steps from one saved state, from which --resume goes on, to the next."""
    log_every: int = 20
    """Steps from one line of the log to the next."""
    track: Literal["", "wandb", "trackio"] = ""
    """Experiment tracker that gets the numbers too; its package is yours to install."""

    # The two parts.
    codec: CodecStage = field(default_factory=CodecStage)
    policy: PolicyStage = field(default_factory=PolicyStage)

    def __post_init__(self) -> None:
        _check_ranges(self)
        if not self.dataset:
            raise TrainConfigError("`dataset` needs at least one folder made by `physgen convert`")
        if self.policy.single_batch_size and self.policy.objective == "video":
            raise TrainConfigError(
                "`policy.objective: video` has only the frame loss, which windows of one pack leave out; set "
                "`policy.single_batch_size` to 0"
            )
        if self.policy.norm_stats not in get_args(NormSource):
            raise TrainConfigError(
                f"`policy.norm_stats` must be checkpoint or dataset, got {self.policy.norm_stats!r}"
            )
        if self.policy.init_parts not in get_args(InitParts):
            raise TrainConfigError(
                f"`policy.init_parts` must be all, video or fitting, got {self.policy.init_parts!r}"
            )
        fitting = self.policy.init_parts == "fitting"
        if fitting and (self.model == "checkpoint" or self.policy.tuning == "lora"):
            raise TrainConfigError(
                "`policy.init_parts: fitting` starts another architecture and trains all of it; name its preset in "
                "`model` and leave `policy.tuning` full"
            )
        if self.policy.objective not in get_args(Objective):
            raise TrainConfigError(
                f"`policy.objective` must be joint, video or frames, got {self.policy.objective!r}"
            )
        if self.policy.objective == "video" and self.policy.obs_loss_weight <= 0:
            raise TrainConfigError(
                "`policy.objective: video` has only the frame loss; give it a positive weight"
            )
        if self.policy.objective == "frames":
            _check_frames(self)
        elif self.architecture and self.model == "checkpoint":
            raise TrainConfigError("`architecture` changes a preset; `model: checkpoint` has none")
        if self.policy.tuning not in get_args(Tuning):
            raise TrainConfigError(f"`policy.tuning` must be full or lora, got {self.policy.tuning!r}")
        if self.policy.tuning == "lora" and not self.policy.init_from:
            raise TrainConfigError(
                "`policy.tuning: lora` adapts a trained model; name it in `policy.init_from`"
            )
        if self.policy.tuning == "lora" and self.policy.muon_learning_rate > 0:
            raise TrainConfigError(
                "`policy.muon_learning_rate` is for whole matrices; leave it 0 with `policy.tuning: lora`"
            )
        if not self.policy.train_text_encoder and not self.policy.init_from:
            raise TrainConfigError(
                "`policy.train_text_encoder: false` needs a trained one; name `policy.init_from`"
            )
        if self.codec.whiten and self.policy.init_from and not fitting:
            raise TrainConfigError(
                "`codec.whiten` changes what every latent means, which the networks of `policy.init_from` do not know; "
                "leave it out or set `policy.init_parts: fitting`"
            )
        brings_codec = self.policy.init_from and not fitting and self.policy.objective != "frames"
        if brings_codec and self.codec.init_from:
            raise TrainConfigError(
                "`policy.init_from` brings the codec its latents were made with; leave `codec.init_from` empty"
            )
        if self.model == "checkpoint" and not self.policy.init_from:
            raise TrainConfigError(
                "`model: checkpoint` needs `policy.init_from`, the checkpoint it speaks of"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as in the YAML file."""
        return asdict(self)


def _check_frames(config: TrainConfig) -> None:
    """Check that the frame side can be trained alone.

    Raises:
        TrainConfigError: It cannot.
    """
    stage = config.policy
    if not stage.init_from or config.model != "checkpoint":
        raise TrainConfigError(
            "`policy.objective: frames` trains the frame side of a policy; name it in `policy.init_from` and set "
            "`model: checkpoint`"
        )
    if stage.tuning == "lora" or stage.init_parts != "all" or stage.norm_stats != "checkpoint":
        raise TrainConfigError(
            "`policy.objective: frames` leaves everything that acts as it is; leave out `policy.tuning`, "
            "`policy.init_parts` and `policy.norm_stats`"
        )
    if config.codec.tune:
        raise TrainConfigError(
            "`policy.objective: frames` keeps the codec, which the policy sees through; leave out `codec.tune`"
        )


RANGES: dict[str, tuple[float, float]] = {
    "validation_share": (0.0, 0.9),
    "policy.single_fraction": (0.0, 1.0),
    "policy.aligned_fraction": (0.0, 1.0),
    "policy.ema_decay": (0.0, 1.0),
    "codec.whole_fraction": (0.0, 1.0),
}
"""Numbers that are shares."""
POSITIVE = frozenset(
    {"validate_every", "save_every", "log_every", "codec.batch_size"}
    | {"policy.batch_size", "policy.obs_loss_every", "policy.obs_loss_frames", "policy.clip_norm"}
)  # above zero; all other numbers not below it


def _check_ranges(config: TrainConfig) -> None:
    """Check every number against RANGES and POSITIVE.

    Raises:
        TrainConfigError: One cannot be; the message names its key.
    """
    for prefix, stage in (("", config), ("codec.", config.codec), ("policy.", config.policy)):
        for entry in fields(stage):
            key, value = prefix + entry.name, getattr(stage, entry.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            low, high = RANGES.get(key, (0.0, float("inf")))
            if not low <= value <= high or (value == 0 and key in POSITIVE):
                wanted = (
                    f"in [{low:g}, {high:g}]" if key in RANGES else "above 0" if key in POSITIVE else ">= 0"
                )
                raise TrainConfigError(f"`{key}` must be {wanted}, got {value}")


def load_config(
    path: Path, overrides: dict[str, Any] | None = None, policy: dict[str, Any] | None = None
) -> TrainConfig:
    """Read a YAML file; command-line options replace top-level keys (`overrides`) and keys of the policy stage.

    Raises:
        TrainConfigError: There is no such file, or it is no training configuration.
    """
    if not path.is_file():
        raise TrainConfigError(f"there is no training configuration {path}; see config/train/ for examples")
    values = read_yaml_mapping(path, TrainConfigError) | (overrides or {})
    if policy:
        given = convert(dict[str, Any], values.get("policy") or {}, f"{path}: policy", TrainConfigError)
        values["policy"] = {**given, **policy}
    return parse_config(values, str(path))


def parse_config(values: dict[str, Any], where: str) -> TrainConfig:
    """Build a TrainConfig from plain values; `where` is what errors name.

    Raises:
        TrainConfigError: A key is missing or unknown, or a value cannot be.
    """
    if not isinstance(values, dict):
        raise TrainConfigError(f"{where} must be a mapping of keys to values, got {shown(values)}")
    values = dict(values)
    for key in ("name", "model", "dataset", "output"):
        if key not in values:
            raise TrainConfigError(f"{where}: key {key!r} is missing")
    dataset = values["dataset"]
    values["dataset"] = (dataset,) if isinstance(dataset, str) else dataset
    for key in ("architecture", "codec", "policy"):
        if values.get(key) is None:
            values[key] = {}
    return build(TrainConfig, values, where, TrainConfigError)
